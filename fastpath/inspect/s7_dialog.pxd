# cython: language_level=3
"""What an S7 conversation must remember: jobs that wait for their answer, blocks under way, split S7comm-plus PDUs.

Lives in the conversation's `dialog_t`: zero at its beginning, both directions, bounded; the oldest entry makes room.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t

from fastpath.abi cimport OPERATION_READ
from fastpath.inspect.interface cimport DIALOG_TAKEN_UP, access_t, dialog_t
from fastpath.inspect.s7_pdu cimport S7_ADDRESS, S7_AREA, S7_COUNT, S7_DB

cdef enum:
    # Jobs that may wait: CPUs negotiate a few (S7-300 1 to 4, S7-400 8), test jobs of the programming device add some.
    OPENER_JOBS = 16
    RESPONDER_JOBS = 4  # a CPU that is being loaded asks for one block piece at a time
    UPLOADS = 4
    FIRST_BYTE_AREA = 0x80  # areas below are numbered things, or unlike what a DB is
    PLACES = 24  # of variables that waiting reads ask for: a PDU has 20 items at most

# Owner: s7_dialog_t. Host byte order; 12 bytes.
cdef struct s7_job_t:
    uint32_t block  # of a transfer: what `block` says, 0 none; of a read: the number of its first place
    uint16_t reference
    uint8_t rosctr  # 0: the entry is free
    uint8_t function  # of userdata: group and subfunction are not compared
    uint8_t operation
    uint8_t items
    uint16_t unused

# Owner: s7_dialog_t. 8 bytes.
cdef struct s7_upload_t:
    uint32_t id  # as the CPU gave it
    uint32_t block

# Owner: s7_dialog_t. Where an item of a read lies; 8 bytes.
cdef struct s7_place_t:
    uint32_t start  # first byte
    uint16_t db
    uint8_t area  # 0: no bytes that can be told
    uint8_t has_db

# Owner: s7_dialog_t. One direction of S7comm-plus; 8 bytes.
cdef struct plus_part_t:
    uint16_t function
    uint16_t reference
    uint8_t open  # 1: the PDU before had no trailer, the next one continues it
    uint8_t opcode
    uint8_t operation
    uint8_t unused

# Owner: the conversation's dialog_t, which is larger by the stream layer's word at least (a test compares).
cdef struct s7_dialog_t:
    s7_job_t opener[OPENER_JOBS]
    s7_job_t responder[RESPONDER_JOBS]
    s7_upload_t uploads[UPLOADS]
    s7_place_t places[PLACES]
    plus_part_t plus[2]
    uint32_t next_place
    uint32_t strays  # answers let through to jobs that we did not see
    uint32_t lost[2]  # bit by reference: one that waited was forgotten, its answer may come yet
    uint8_t next_opener
    uint8_t next_responder
    uint8_t next_upload
    uint8_t downloading  # 1: the opener asked for a download, the CPU may fetch it


cdef inline s7_dialog_t *s7_dialog(dialog_t *dialog) noexcept nogil:
    return <s7_dialog_t *>dialog


cdef inline int taken_up(const s7_dialog_t *dialog) noexcept nogil:
    """Say whether a part of the conversation was not seen."""
    return (<const dialog_t *>dialog).words[DIALOG_TAKEN_UP] != 0


cdef inline int forgiven(s7_dialog_t *dialog, int partial) noexcept nogil:
    """Say whether an answer without its job may be to one that we did not see: so many each time, and no more."""
    if dialog.strays >= OPENER_JOBS * (<const dialog_t *>dialog).words[DIALOG_TAKEN_UP]:
        return 0
    dialog.strays += not partial
    return 1


cdef inline s7_job_t *new_job(s7_dialog_t *dialog, int from_opener) noexcept nogil:
    """Return the entry for a job that was asked now."""
    cdef s7_job_t *job
    if from_opener:
        job = &dialog.opener[dialog.next_opener % OPENER_JOBS]
        if job.rosctr:
            dialog.lost[job.reference >> 5 & 1] |= <uint32_t>1 << (job.reference & 31)
        dialog.next_opener += 1
    else:
        job = &dialog.responder[dialog.next_responder % RESPONDER_JOBS]
        dialog.next_responder += 1
    return job


cdef inline s7_job_t *find_job(s7_dialog_t *dialog, int from_opener, uint16_t reference, uint8_t rosctr) noexcept nogil:
    """Return the newest waiting job with this reference; rosctr 0: of whatever kind. NULL: there is none."""
    cdef s7_job_t *jobs = &dialog.opener[0] if from_opener else &dialog.responder[0]
    cdef int size = OPENER_JOBS if from_opener else RESPONDER_JOBS
    cdef uint8_t newest = dialog.next_opener if from_opener else dialog.next_responder
    cdef s7_job_t *job
    cdef int i
    for i in range(size):
        job = &jobs[<uint8_t>(newest - 1 - i) % size]
        if job.rosctr and job.reference == reference and (rosctr == 0 or job.rosctr == rosctr):
            return job
    return NULL


cdef inline int is_told_apart(s7_dialog_t *dialog, uint16_t reference) noexcept nogil:
    """Tell whether an answer with this reference can only be to the job that the opener asks now.

    If not, what waits brings no values either: whoever gives two reads one reference chooses what is known of a place.
    """
    cdef s7_job_t *other = find_job(dialog, 1, reference, 0)
    cdef int at
    if other != NULL:
        for at in range(PLACES):
            dialog.places[at].area = 0
    return other == NULL and not dialog.lost[reference >> 5 & 1] >> (reference & 31) & 1


cdef inline void keep_upload(s7_dialog_t *dialog, uint32_t identity, uint32_t block) noexcept nogil:
    dialog.uploads[dialog.next_upload % UPLOADS].id = identity
    dialog.uploads[dialog.next_upload % UPLOADS].block = block
    dialog.next_upload += 1


cdef inline uint32_t find_upload(const s7_dialog_t *dialog, uint32_t identity) noexcept nogil:
    """Return the block that is read out under this number; 0: none."""
    cdef int i
    for i in range(UPLOADS):
        if dialog.uploads[<uint8_t>(dialog.next_upload - 1 - i) % UPLOADS].id == identity:
            return dialog.uploads[<uint8_t>(dialog.next_upload - 1 - i) % UPLOADS].block
    return 0


cdef inline void keep_place(s7_dialog_t *dialog, const access_t *access) noexcept nogil:
    """Remember where the next item of a read lies: bytes, neither a bit nor something numbered."""
    cdef s7_place_t *place = &dialog.places[dialog.next_place % PLACES]
    dialog.next_place += 1
    place.area = 0
    if access.present >> S7_COUNT & 1 and access.low[S7_AREA] >= FIRST_BYTE_AREA and access.operation == OPERATION_READ:
        place.area = <uint8_t>access.low[S7_AREA]
        place.start = <uint32_t>access.low[S7_ADDRESS]
        place.has_db = access.present >> S7_DB & 1
        place.db = <uint16_t>access.low[S7_DB] if place.has_db else 0


cdef inline const s7_place_t *find_place(const s7_dialog_t *dialog, uint32_t number) noexcept nogil:
    """Return the place that was remembered under this number; NULL: it is no more, or it is none of bytes."""
    cdef const s7_place_t *place = &dialog.places[number % PLACES]
    if dialog.next_place - number > PLACES or number == dialog.next_place or place.area == 0:
        return NULL
    return place

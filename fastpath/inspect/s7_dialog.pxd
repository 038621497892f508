# cython: language_level=3
"""What an S7 conversation must remember: jobs that wait for their answer, blocks under way, split S7comm-plus PDUs.

Lives in the conversation's `dialog_t`: zero at its beginning, both directions, bounded; the oldest entry makes room.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t

from fastpath.inspect.interface cimport dialog_t

cdef enum:
    # Jobs that may wait: a CPU negotiates at most a few (8 on an S7-400), test jobs of the programming device add some.
    OPENER_JOBS = 32
    RESPONDER_JOBS = 4  # a CPU that is being loaded asks for one block piece at a time
    UPLOADS = 4

# Owner: s7_dialog_t. Host byte order; 12 bytes.
cdef struct s7_job_t:
    uint32_t block  # of a download: what `block` says, 0 none
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

# Owner: s7_dialog_t. One direction of S7comm-plus; 8 bytes.
cdef struct plus_part_t:
    uint16_t function
    uint16_t reference
    uint8_t open  # 1: the PDU before had no trailer, the next one continues it
    uint8_t opcode
    uint8_t operation
    uint8_t unused

# Owner: the conversation's dialog_t, which is larger (a test compares).
cdef struct s7_dialog_t:
    s7_job_t opener[OPENER_JOBS]
    s7_job_t responder[RESPONDER_JOBS]
    s7_upload_t uploads[UPLOADS]
    plus_part_t plus[2]
    uint8_t next_opener
    uint8_t next_responder
    uint8_t next_upload
    uint8_t begun  # 1: the connection was seen from its beginning, every answer has its job
    uint8_t downloading  # 1: the opener asked for a download, the CPU may fetch it


cdef inline s7_dialog_t *s7_dialog(dialog_t *dialog) noexcept nogil:
    return <s7_dialog_t *>dialog


cdef inline s7_job_t *new_job(s7_dialog_t *dialog, int from_opener) noexcept nogil:
    """Return the entry for a job that was asked now."""
    cdef s7_job_t *job
    if from_opener:
        job = &dialog.opener[dialog.next_opener % OPENER_JOBS]
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

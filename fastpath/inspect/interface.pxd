# cython: language_level=3
"""Where protocol inspection will stand: one module per protocol beside this file, all with this one shape.

`decide` will call an inspector for a frame that a conduit with an inspection profile permits, before the accept becomes
a verdict. In: the conduit's profile number, the flow with its direction, and the bytes behind the transport header.
Out: NONE to let the accept stand, or the drop reason. An inspector keeps what it must remember inside the flow's own
bounded memory, never allocates and never raises. No profile exists yet: `judge.validate_image` refuses an image that
asks for one.
"""

from libc.stdint cimport uint8_t, uint16_t

from fastpath.abi cimport flow_t
from fastpath.cursor cimport cursor_t

ctypedef uint8_t (*inspector_t)(uint16_t profile, flow_t *flow, int direction, cursor_t *payload) noexcept nogil

cdef enum:
    PROFILE_NONE = 0
    PROFILE_COUNT = 1  # profiles this engine knows, PROFILE_NONE included

"""As ``bodies``, in a server that may not mount by itself, whoever runs the tests: it needs a namespace of users."""

from __future__ import annotations

import ctypes
import struct

from bodies import plain  # noqa: F401

_VERSION, _SYS_ADMIN = 0x20080522, 1 << 21
_library, _header, _sets = ctypes.CDLL(None), struct.pack("=Ii", _VERSION, 0), ctypes.create_string_buffer(24)

if _library.capget(_header, _sets) == 0:
    effective, permitted, *others = struct.unpack("=6I", _sets.raw)
    kept = struct.pack("=6I", effective & ~_SYS_ADMIN, permitted & ~_SYS_ADMIN, *others)
    if _library.capset(_header, kept) != 0:
        raise OSError("the privilege cannot be given up")

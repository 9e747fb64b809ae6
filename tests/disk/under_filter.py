"""`python under_filter.py FD NUMBER,NUMBER,... PROGRAM...`: runs a program whose named system calls wait for an answer.

They are sent to whoever holds the other end of the socket FD, as `seccomp_unotify(2)` has it. Needs no privilege: the program can
gain none any more, and neither can what it starts, which has the same filter.
"""

import array  # noqa: F401 - by `socket.send_fds`, when nothing may be opened any more
import ctypes
import os
import platform
import socket
import struct
import sys

PR_SET_NO_NEW_PRIVS, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER = 38, 1, 8
SECCOMP = {"x86_64": 317, "aarch64": 277}[platform.machine()]
LOAD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06  # BPF: the call's number is the first word
ALLOW, NOTIFY = 0x7FFF0000, 0x7FC00000


def filtered(numbers: list[int]) -> int:
    """Put this process under the filter; returns the descriptor that hears of its calls."""
    rows = [(LOAD, 0, 0, 0)]
    rows += [(JUMP_IF_EQUAL, len(numbers) - place, 0, number) for place, number in enumerate(numbers)]
    rows += [(RETURN, 0, 0, ALLOW), (RETURN, 0, 0, NOTIFY)]
    program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *row) for row in rows))
    header = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", len(rows), ctypes.addressof(program)))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
    listener: int = libc.syscall(SECCOMP, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, header)
    if listener < 0:
        raise OSError(ctypes.get_errno(), "seccomp")
    return listener


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as channel:
        # Answered from here on: nothing may be between the two lines but calls that nobody disturbs.
        descriptor = filtered([int(number) for number in sys.argv[2].split(",")])
        socket.send_fds(channel, [b"."], [descriptor])
    os.execve(sys.argv[3], sys.argv[3:], os.environ)

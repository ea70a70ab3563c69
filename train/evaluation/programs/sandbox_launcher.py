"""The process between the sandbox and a generated program; run as a script by `sandbox` only.

It gives up rights, starts the program, and stays behind to end it. Each right is given up by its
own function, which says whether the system allowed it. Standard library only, because it starts
with every program; the numbers are those of Linux's headers.
"""

import ctypes
import errno
import json
import os
import platform
import signal
import struct
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

MAX_FOLDER_BYTES = 16 << 20
MAX_OPEN_FILES = 256
MAX_PROCESSES = 64
"""Only where a language needs to start processes; the filter refuses them to all others."""

_NEW_USER, _NEW_MOUNTS, _NEW_IPC = 0x10000000, 0x00020000, 0x08000000
_NEW_PROCESSES, _NEW_NETWORK = 0x20000000, 0x40000000
_MOUNT_PRIVATE, _MOUNT_NO_SUID_NO_DEV = 0x4000 | 0x40000, 2 | 4
_MOUNT_SETATTR, _AT_CWD, _AT_RECURSIVE, _ATTR_READ_ONLY = 442, -100, 0x8000, 1
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _SECCOMP_FILTER = 1, 38, 22, 2
_MOUNT_READ_ONLY = 1 | 2 | 4 | 8
# landlock(7): each right to change something is a bit; the last two came with later versions.
_LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT, _PATH_BENEATH = 444, 445, 446, 1
_WRITE_FILE, _WRITING, _MOVING, _TRUNCATING = 0x2, 0x1FF2, 0x2000, 0x4000
_INNER_ID = 1000
"""User and group inside the namespace: not 0, so that becoming the program drops all rights."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Calls:
    """System call numbers of a processor."""

    audit_arch: int
    clone: int
    refused: tuple[int, ...]
    """socket, io_uring_setup (which opens sockets too), ptrace; kill, tkill, rt_sigqueueinfo,
    rt_tgsigqueueinfo, pidfd_send_signal."""
    refused_forks: tuple[int, ...] = ()


_CALLS = {
    "x86_64": _Calls(
        audit_arch=0xC000003E,
        clone=56,
        refused=(41, 425, 101, 62, 200, 129, 297, 424),
        refused_forks=(57, 58),
    ),
    "aarch64": _Calls(
        audit_arch=0xC00000B7, clone=220, refused=(198, 425, 117, 129, 130, 138, 240, 424)
    ),
}
_CLONE3 = 435
_CLONE_THREAD = 0x10000


def _launch(order: dict[str, Any]) -> NoReturn:
    """Give up rights, then become the program; this process stays behind to clean up."""
    if order.get("is_probe"):
        found = {
            "has_namespaces": _enter_namespaces(order["folder"]),
            "has_filter": _install_filter(may_fork=False),
            "has_landlock": _restrict_writing(order["folder"]),
        }
        print(json.dumps(found), flush=True)
        os._exit(0)
    if sys.platform == "linux":
        # When the thread that waits for us dies, we end too, and the program with us.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    program = Path(order["folder"], order["file_name"]).read_bytes()
    has_namespaces = _enter_namespaces(order["folder"])
    os.chdir(order["folder"])
    Path(order["file_name"]).write_bytes(program)
    # Until the handler knows whom to end, the signal has to wait.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    pid = os.fork()
    if pid == 0:
        try:
            _become(order, has_namespaces)
        except BaseException as error:
            os.write(2, f"the program could not be started: {error}\n".encode())
        os._exit(127)

    def end(*_: object) -> None:
        _kill_group(pid)
        try:
            os.waitpid(pid, 0)
        except ChildProcessError:
            pass  # It had ended, and was waited for.
        os._exit(128 + signal.SIGTERM)

    signal.signal(signal.SIGTERM, end)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    _, status = os.waitpid(pid, 0)
    _kill_group(pid)
    code = os.waitstatus_to_exitcode(status)
    os._exit(code if code >= 0 else 128 - code)


def _become(order: dict[str, Any], has_namespaces: bool) -> None:
    os.setsid()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    folder = order["folder"]
    if has_namespaces:
        _hide_processes()
    _install_filter(may_fork=order["starts_processes"])
    _restrict_writing(folder)
    environment = {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": folder,
        "TMPDIR": folder,
        "LANG": "C.UTF-8",
        "PYTHONHASHSEED": "0",
        "MPLBACKEND": "Agg",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }
    _limit(order, has_namespaces)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    os.execve(order["command"][0], order["command"], environment)


def _limit(order: dict[str, Any], has_namespaces: bool) -> None:
    import resource

    limits = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_CPU: order["cpu_s"],
        resource.RLIMIT_FSIZE: MAX_FOLDER_BYTES,
        resource.RLIMIT_NOFILE: MAX_OPEN_FILES,
        resource.RLIMIT_DATA: order["memory_bytes"],
    }
    if not order["reserves_address_space"]:
        limits[resource.RLIMIT_AS] = order["memory_bytes"]
    if has_namespaces:
        # Elsewhere the user's other processes would count too.
        limits[resource.RLIMIT_NPROC] = MAX_PROCESSES
    for which, most in limits.items():
        _, hard = resource.getrlimit(which)
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        try:
            resource.setrlimit(which, (most, most))
        except (OSError, ValueError):
            if sys.platform == "linux":
                raise  # macOS does not know all of them.


def _enter_namespaces(folder: str) -> bool:
    """Network, processes and mounts of our own; all read-only but `folder`, which is empty then.

    False: the system does not allow all of it.
    """
    if sys.platform != "linux":
        return False
    user_id, group_id = os.geteuid(), os.getegid()
    libc = ctypes.CDLL(None, use_errno=True)
    all_new = _NEW_USER | _NEW_MOUNTS | _NEW_IPC | _NEW_PROCESSES | _NEW_NETWORK
    if libc.unshare(all_new) != 0:
        return False
    try:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{_INNER_ID} {user_id} 1")
        Path("/proc/self/gid_map").write_text(f"{_INNER_ID} {group_id} 1")
    except OSError:
        return False
    size = f"size={MAX_FOLDER_BYTES},mode=700".encode()
    path = os.fsencode(folder)
    is_done = (
        libc.mount(None, b"/", None, _MOUNT_PRIVATE, None) == 0
        and libc.mount(b"tmpfs", path, b"tmpfs", _MOUNT_NO_SUID_NO_DEV, size) == 0
        and _set_read_only(libc, b"/", is_read_only=True)
        and _set_read_only(libc, path, is_read_only=False)
    )
    return bool(is_done)


def _set_read_only(libc: ctypes.CDLL, path: bytes, *, is_read_only: bool) -> bool:
    """mount_setattr(2): everything below `path` read-only, or that one mount writable."""
    wanted = (_ATTR_READ_ONLY, 0) if is_read_only else (0, _ATTR_READ_ONLY)
    attributes = (ctypes.c_uint64 * 4)(*wanted, 0, 0)
    flags = _AT_RECURSIVE if is_read_only else 0
    size = ctypes.c_size_t(ctypes.sizeof(attributes))
    return bool(libc.syscall(_MOUNT_SETATTR, _AT_CWD, path, flags, attributes, size) == 0)


def _hide_processes() -> None:
    """In /proc stand only the processes of our namespace, or nothing where that is forbidden."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"proc", b"/proc", b"proc", _MOUNT_READ_ONLY, None) != 0:
        libc.mount(b"tmpfs", b"/proc", b"tmpfs", _MOUNT_READ_ONLY, b"size=4k")


def _restrict_writing(folder: str) -> bool:
    """Landlock: writing only in `folder` and to /dev/null. False: this system has none."""
    if sys.platform != "linux":
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    version = libc.syscall(_LANDLOCK_CREATE, None, 0, 1)
    if version < 1:
        return False
    rights = _WRITING | (_MOVING if version >= 2 else 0) | (_TRUNCATING if version >= 3 else 0)
    handled = ctypes.c_uint64(rights)
    ruleset = libc.syscall(_LANDLOCK_CREATE, ctypes.byref(handled), ctypes.c_size_t(8), 0)
    if ruleset < 0:
        return False
    for path, allowed in ((folder, rights), ("/dev/null", _WRITE_FILE)):
        place = os.open(path, os.O_PATH)
        rule = struct.pack("=Qi", allowed, place)
        if libc.syscall(_LANDLOCK_ADD, ruleset, _PATH_BENEATH, rule, 0) != 0:
            return False
        os.close(place)
    is_promised = libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
    is_done = is_promised and libc.syscall(_LANDLOCK_RESTRICT, ruleset, 0) == 0
    os.close(ruleset)
    return bool(is_done)


def _install_filter(*, may_fork: bool) -> bool:
    """A seccomp filter that refuses sockets, signals and, unless `may_fork`, new processes.

    False: this system has none.
    """
    calls = _CALLS.get(platform.machine())
    if sys.platform != "linux" or calls is None:
        return False
    program = b"".join(
        struct.pack("=HBBI", *instruction) for instruction in _filter(calls, may_fork)
    )

    class Program(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p)]

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        return False
    filter_program = Program(len(program) // 8, program)
    return bool(
        libc.prctl(_PR_SET_SECCOMP, _SECCOMP_FILTER, ctypes.byref(filter_program), 0, 0) == 0
    )


def _filter(calls: _Calls, may_fork: bool) -> Sequence[tuple[int, int, int, int]]:
    """Instructions of Linux's BPF: (code, jump if true, jump if false, value); see seccomp(2)."""
    load, equal, at_least, any_bit, give = 0x20, 0x15, 0x35, 0x45, 0x06
    at_number, at_architecture, at_argument = 0, 4, 16
    allow = 0x7FFF0000

    def refuse(error: int) -> tuple[int, int, int, int]:
        return (give, 0, 0, 0x00050000 | error)

    lines = [
        (load, 0, 0, at_architecture),
        (equal, 1, 0, calls.audit_arch),
        refuse(errno.EPERM),
        (load, 0, 0, at_number),
        (at_least, 0, 1, 0x40000000),  # The second set of numbers of x86-64.
        refuse(errno.EPERM),
    ]
    for number in calls.refused:
        lines += [(equal, 0, 1, number), refuse(errno.EACCES)]
    if not may_fork:
        for number in calls.refused_forks:
            lines += [(equal, 0, 1, number), refuse(errno.EAGAIN)]
        # Its flags lie in memory, where a filter cannot look; the C library then calls clone.
        lines += [(equal, 0, 1, _CLONE3), refuse(errno.ENOSYS)]
        lines += [
            (equal, 0, 3, calls.clone),
            (load, 0, 0, at_argument),
            (any_bit, 1, 0, _CLONE_THREAD),
            refuse(errno.EAGAIN),
        ]
    return [*lines, (give, 0, 0, allow)]


def _kill_group(pid: int) -> None:
    """End a process that leads a group, and the group."""
    for kill in (os.killpg, os.kill):
        try:
            kill(pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass


if __name__ == "__main__":
    _launch(json.loads(sys.argv[1]))

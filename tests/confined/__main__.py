"""Runs a command on a poorer machine: no network, a full or read-only disk, little memory.

    python -m tests.confined --no-network make test
    python -m tests.confined --disk ~/.cache=64 --read-only ~/.config starling doctor

By namespaces of Linux, so that nothing is changed for anybody else, and nobody needs to be root
where the system lets users have namespaces. Exit status 125 when it does not.
"""

import argparse
import ctypes
import fcntl
import os
import resource
import socket
import struct
import sys
from pathlib import Path

EXIT_CANNOT = 125

_CLONE_NEWNS, _CLONE_NEWUSER, _CLONE_NEWNET = 0x00020000, 0x10000000, 0x40000000
_MS_RDONLY, _MS_REMOUNT, _MS_BIND, _MS_REC, _MS_PRIVATE = 1, 32, 4096, 16384, 1 << 18
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1

_libc = ctypes.CDLL(None, use_errno=True)


def main() -> None:
    """Becomes the command."""
    wanted = _parsed(sys.argv[1:])
    try:
        _confine(wanted)
    except OSError as error:
        print(f"tests.confined: {error}: this system does not allow it", file=sys.stderr)
        sys.exit(EXIT_CANNOT)
    os.execvp(wanted.command[0], wanted.command)


def _parsed(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.confined")
    parser.add_argument("--no-network", action="store_true", help="loopback only")
    parser.add_argument(
        "--disk",
        action="append",
        default=[],
        metavar="FOLDER=KB",
        help="put an empty disk of so many KB at FOLDER",
    )
    parser.add_argument("--read-only", action="append", default=[], metavar="FOLDER", type=Path)
    parser.add_argument("--memory-mb", type=int, metavar="N", help="most address space")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    return parser.parse_args(arguments)


def _confine(wanted: argparse.Namespace) -> None:
    namespaces = 0
    if wanted.no_network:
        namespaces |= _CLONE_NEWNET
    if wanted.disk or wanted.read_only:
        namespaces |= _CLONE_NEWNS
    if namespaces:
        _enter(namespaces)
    if wanted.no_network:
        _raise_loopback()
        assert [name for _, name in socket.if_nameindex()] == ["lo"]
    if namespaces & _CLONE_NEWNS:
        _mount(None, "/", None, _MS_REC | _MS_PRIVATE)
    for disk in wanted.disk:
        folder, _, size_kb = disk.rpartition("=")
        _mount("tmpfs", folder, "tmpfs", 0, f"size={int(size_kb)}k")
    for folder in wanted.read_only:
        _mount(str(folder), str(folder), None, _MS_BIND)
        _mount(None, str(folder), None, _MS_BIND | _MS_REMOUNT | _MS_RDONLY)
    if wanted.memory_mb:
        resource.setrlimit(resource.RLIMIT_AS, (wanted.memory_mb << 20,) * 2)


def _enter(namespaces: int) -> None:
    """Who is not root becomes nobody else: only the rights over the new namespaces come along."""
    user_id, group_id = os.geteuid(), os.getegid()
    _check(_libc.unshare(namespaces | (_CLONE_NEWUSER if user_id else 0)), "namespaces")
    if user_id:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user_id} {user_id} 1")
        Path("/proc/self/gid_map").write_text(f"{group_id} {group_id} 1")


def _raise_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        asked = struct.pack("16sh14x", b"lo", 0)
        _, flags = struct.unpack("16sh14x", fcntl.ioctl(any_socket, _SIOCGIFFLAGS, asked))
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | _IFF_UP))


def _mount(source: str | None, target: str, kind: str | None, flags: int, data: str = "") -> None:
    encoded = [os.fsencode(text) if text else None for text in (source, target, kind, data)]
    _check(_libc.mount(*encoded[:3], ctypes.c_ulong(flags), encoded[3]), f"mounting {target}")


def _check(status: int, what: str) -> None:
    if status != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


if __name__ == "__main__":
    main()

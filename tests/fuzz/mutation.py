"""How inputs are changed: at random bytes, or inside the structure that a parser looks at."""

from __future__ import annotations

import copy
import json
import random
import re
import struct
from collections.abc import Callable
from typing import Any

Mutate = Callable[[bytes, random.Random], bytes]

_ODD_BYTES = (b"\0", b"\xff", b"\x7f", b"\x80", b"\n", b"\r\n", b'"', b"\\", b"{", b"[" * 3000,
              b"/../", b"\x1b[2J", "\u202e".encode(), b"9" * 5000, b"-1", b"1e999", b"%s",
              b" " * 4000, b"\xed\xa0\x80", b"\xf0\x9f\x92\xa9", b"<script>", b"\\ud800",
              )  # fmt: skip
_ODD_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2, 7, 255, 2**31, 2**32, 2**63, 2**64, 10**30, -(2**63), 0.5,
    1e308, float("inf"), float("nan"), "", "a", "\ud800", "\0", "a\nb", "../../x", "/etc/passwd",
    "\x1b[2J", "9" * 5000, 10**400, "x" * 20_000, [], {}, [[]], [None], [1, 2], [2, 1], {"": {}},
    [[0, 10**15]], ["a"] * 3000,
)  # fmt: skip
_NUMBER = re.compile(rb"\d+")


def any_bytes(data: bytes, choose: random.Random) -> bytes:
    """One to four changes anywhere."""
    for _ in range(choose.choice((1, 1, 2, 4))):
        at = choose.randrange(len(data) + 1)
        end = min(len(data), at + choose.choice((1, 2, 4, 8, 64, 1024)))
        match choose.randrange(8):
            case 0:
                data = data[:at]
            case 1:
                data = data[:at] + data[end:]
            case 2:
                data = data[:end] + data[at:]
            case 3:
                data = data[:at] + choose.choice(_ODD_BYTES) + data[at:]
            case 4:
                number = choose.choice((0, 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1))
                packed = struct.pack(choose.choice("<>") + "Q", number)[: choose.choice((1, 4, 8))]
                data = data[:at] + packed + data[at + len(packed) :]
            case 5 if numbers := list(_NUMBER.finditer(data)):
                found = choose.choice(numbers)
                other = choose.choice((b"0", b"1", b"-1", b"9" * 11, b"9" * 400, b"1.5", b"1e999"))
                data = data[: found.start()] + other + data[found.end() :]
            case 6:
                other_at = choose.randrange(len(data) + 1)
                data = data[:at] + data[other_at : other_at + end - at] + data[end:]
            case _:
                data = data[:at] + bytes([choose.randrange(256)]) + data[at + 1 :]
    return data


def any_json(data: bytes, choose: random.Random) -> bytes:
    """A JSON document with values replaced, or keys lost, doubled or renamed; else `any_bytes`."""
    if choose.random() < 0.25:
        return any_bytes(data, choose)
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return any_bytes(data, choose)
    for _ in range(choose.choice((1, 1, 2, 3))):
        document = _odd_node(document, choose)
    if choose.random() < 0.05:
        depth = choose.choice((50, 500, 5_000))
        return b'{"a":' * depth + json.dumps(document).encode() + b"}" * depth
    return json.dumps(document, ensure_ascii=choose.random() < 0.5).encode("utf-8", "surrogatepass")


def any_json_lines(data: bytes, choose: random.Random) -> bytes:
    """JSON lines, one of them changed, lost or doubled."""
    lines = data.split(b"\n")
    at = choose.randrange(len(lines))
    match choose.randrange(5):
        case 0:
            del lines[at]
        case 1:
            lines.insert(at, lines[choose.randrange(len(lines))])
        case _:
            lines[at] = any_json(lines[at], choose)
    return b"\n".join(lines)


def _odd_node(node: Any, choose: random.Random) -> Any:
    if isinstance(node, dict) and node and choose.random() < 0.9:
        key = choose.choice(list(node))
        match choose.randrange(8):
            case 0:
                del node[key]
            case 1:
                node[choose.choice(("", "x", key + "x", "__class__", "\ud800"))] = node[key]
            case _:
                node[key] = _odd_node(node[key], choose)
        return node
    if isinstance(node, list) and node and choose.random() < 0.9:
        at = choose.randrange(len(node))
        match choose.randrange(8):
            case 0:
                del node[at]
            case 1:
                node += node[: choose.choice((1, 100))]
            case _:
                node[at] = _odd_node(node[at], choose)
        return node
    if isinstance(node, int) and choose.random() < 0.4:
        return choose.choice((node + 1, node - 1, -node, node * 2, node // 2, node % 1000 / 2))
    if isinstance(node, str) and node and choose.random() < 0.4:
        data = any_bytes(node.encode("utf-8", "surrogatepass"), choose)
        return data.decode("utf-8", "replace")
    return copy.deepcopy(choose.choice(_ODD_VALUES))

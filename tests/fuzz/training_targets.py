"""Parsers of what sources of code, checkpoints and recipes hand to training and quantization."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import json
import lzma
import random
import struct
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.fuzz.mutation import any_bytes, any_json, any_json_lines
from tests.fuzz.target import Target

_FILES = {
    "t-1/PKG-INFO": b"Name: t\nLicense: MIT\n",
    "t-1/a.py": b"x = 1\n" * 9,
    "t-1/LICENSE": b"MIT",
}


def _recipe() -> Target:
    from train.errors import RecipeError
    from train.recipe_file import RECIPES_DIRECTORY, load_recipe

    def parse(data: bytes, folder: Path) -> None:
        path = folder / "mine.toml"
        path.write_bytes(data)
        load_recipe(str(path))

    seed = (RECIPES_DIRECTORY / "tiny.toml").read_bytes()
    return Target(parse=parse, allowed=(RecipeError,), seeds=(seed,))


def _safetensors() -> Target:
    from quantize.errors import CheckpointError
    from quantize.safetensors_file import read_header

    def parse(data: bytes, folder: Path) -> None:
        path = folder / "model.safetensors"
        path.write_bytes(data)
        for reference in read_header(path).values():
            reference.check_type()
            reference.read()

    def mutate(data: bytes, choose: random.Random) -> bytes:
        if choose.random() < 0.3:
            return any_bytes(data, choose)
        (length,) = struct.unpack_from("<Q", data.ljust(8, b"\0"))
        text = any_json(data[8 : 8 + length], choose)
        return struct.pack("<Q", len(text)) + text + data[8 + length :]

    header = {"a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
              "b": {"dtype": "BF16", "shape": [4], "data_offsets": [24, 32]},
              "__metadata__": {"format": "pt"}}  # fmt: skip
    text = json.dumps(header).encode()
    seed = struct.pack("<Q", len(text)) + text + bytes(32)
    return Target(parse=parse, allowed=(CheckpointError,), seeds=(seed,), mutate=mutate)


def _checkpoint() -> Target:
    """config.json, tokenizer.json or the list of shards of a folder that is sound otherwise."""
    from quantize.checkpoint import open_checkpoint, read_optional_json
    from quantize.errors import CheckpointError
    from tests.quantize import tiny_checkpoint

    with tempfile.TemporaryDirectory() as place:
        tiny_checkpoint.write(Path(place))
        whole = {path.name: path.read_bytes() for path in Path(place).iterdir()}
    names = ("config.json", "tokenizer.json", "spec.json", "model.safetensors.index.json")

    def parse(data: bytes, folder: Path) -> None:
        for name, content in whole.items():
            (folder / name).write_bytes(content)
        (folder / names[3]).unlink(missing_ok=True)
        which = names[data[0] % len(names)] if data else names[0]
        weights = folder / "model.safetensors"
        (folder / which).write_bytes(data[1:])
        if which.endswith("index.json"):
            weights.unlink()
        if which == "config.json":
            read_optional_json(folder / which)
        if which == "tokenizer.json":
            # Named by its digest, as whoever means harm would do.
            spec = json.loads(whole["spec.json"])
            spec["tokenizer_sha256"] = hashlib.sha256(data[1:]).hexdigest()
            (folder / "spec.json").write_text(json.dumps(spec))
        open_checkpoint(folder)

    def mutate(data: bytes, choose: random.Random) -> bytes:
        return data[:1] + any_json(data[1:], choose)

    shards = {"weight_map": {"model.norm.weight": "../model-1.safetensors", "b": "x.safetensors"}}
    contents = [*(whole[name] for name in names[:3]), json.dumps(shards).encode()]
    seeds = tuple(bytes([n]) + content for n, content in enumerate(contents))
    return Target(parse=parse, allowed=(CheckpointError,), seeds=seeds, mutate=mutate)


def _tar_bytes() -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, data in _FILES.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            info.pax_headers = {"comment": "ä"} if name.endswith(".py") else {}
            archive.addfile(info, io.BytesIO(data))
        for name, kind in {"t-1/link": tarfile.SYMTYPE, "t-1/dev": tarfile.CHRTYPE}.items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
    return packed.getvalue()[:8192]


def _zip_bytes() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in _FILES.items():
            archive.writestr(name, data)
    return packed.getvalue()


_PACKERS: tuple[tuple[str, Callable[[bytes], bytes]], ...] = (
    (".tar", bytes), (".tar.gz", gzip.compress), (".tar.bz2", bz2.compress),
    (".tar.xz", lzma.compress), (".tar.gz", bytes), (".whl", bytes), (".zip", bytes),
)  # fmt: skip


def _with_checksums(tar: bytes) -> bytes:
    """Each header with the sum that it should have, so that what else it says is believed."""
    blocks = bytearray(tar)
    for at in range(0, len(blocks) - 511, 512):
        if blocks[at + 257 : at + 262] == b"ustar":
            blocks[at + 148 : at + 156] = b" " * 8
            blocks[at + 148 : at + 156] = b"%06o\0 " % sum(blocks[at : at + 512])
    return bytes(blocks)


_ODD_FIELDS = (
    b"\x80" + b"\xff" * 11, b"77777777777\0", b"x", b"g", b"L", b"S", b"K", b"../../../x\0",
    b"/abs\0", b"-1\0", b"2", b"00000000000\0",
)  # fmt: skip


def _change_archive(data: bytes, choose: random.Random) -> bytes:
    kind, body = data[:1], data[1:]
    if body[:2] != b"PK" and choose.random() < 0.7 and len(body) >= 512:
        # In place: what follows must stay at multiples of 512 bytes.
        at = 512 * choose.randrange(len(body) // 512) + choose.choice((0, 100, 124, 156, 157, 345))
        odd = choose.choice(_ODD_FIELDS)
        body = body[:at] + odd + body[at + len(odd) :]
        return kind + _with_checksums(body)
    if choose.random() < 0.2:
        kind = bytes([choose.randrange(len(_PACKERS))])
    return kind + _with_checksums(any_bytes(body, choose))


def _archive_seeds() -> tuple[bytes, ...]:
    tar, zipped = _tar_bytes(), _zip_bytes()
    whole = (tar, tar, tar, tar, gzip.compress(tar), zipped, zipped)
    return tuple(bytes([n]) + content for n, content in enumerate(whole))


def _lay(data: bytes, folder: Path) -> Path:
    suffix, pack = _PACKERS[data[0] % len(_PACKERS)] if data else _PACKERS[0]
    path = folder / f"t-1{suffix}"
    path.write_bytes(pack(data[1:]))
    return path


def _archives() -> Target:
    from train.corpus.sources.archives import open_archive
    from train.errors import SourceError

    def parse(data: bytes, folder: Path) -> None:
        reader = open_archive(_lay(data, folder))
        for file in reader.files():
            assert ".." not in file.path.split("/") or file.problem, file.path
        reader.metadata()

    return Target(
        parse=parse, allowed=(SourceError,), seeds=_archive_seeds(), mutate=_change_archive
    )


def _indexed_archives() -> Target:
    from attribution.errors import CodeSourceError
    from attribution.sources.archive import archive_files

    return Target(
        parse=lambda data, folder: archive_files(_lay(data, folder)),
        allowed=(CodeSourceError,),
        seeds=_archive_seeds(),
        mutate=_change_archive,
    )


def _notebook() -> Target:
    from train.corpus.formats.notebook import render

    def parse(data: bytes, _: Path) -> None:
        render(data, "structured")
        render(data, "script")

    cells = [
        {"cell_type": "markdown", "source": ["# A title\n", "and words " * 9]},
        {"cell_type": "code", "source": "%%time\nimport os\n!ls\n" + "x = 1\n" * 20, "outputs": [
            {"output_type": "stream", "text": "a\rb\x1b[31m\n"},
            {"output_type": "error", "ename": "E", "evalue": "v", "traceback": ["t"]},
            {"output_type": "display_data", "data": {"text/plain": "<Figure>", "image/png": "x"}}]},
    ]  # fmt: skip
    metadata = {"kernelspec": {"name": "python3"}, "language_info": {"name": "python"}}
    new = {"nbformat": 4, "cells": cells, "metadata": metadata}
    old = {"nbformat": 3, "worksheets": [{"cells": [{"cell_type": "code", "input": "x = 1\n" * 30,
                                                     "language": "python"}]}]}  # fmt: skip
    seeds = tuple(json.dumps(one).encode() for one in (new, old))
    return Target(parse=parse, allowed=(), seeds=seeds, mutate=any_json)


def _threads() -> Target:
    """Dumps of issues and pull requests, from the reader to the text."""
    from train.corpus.formats import issue, pull_request
    from train.corpus.sources.dumps import open_issues, open_pull_requests
    from train.errors import SourceError

    def parse(data: bytes, folder: Path) -> None:
        path = folder / "dump.jsonl"
        path.write_bytes(data)
        for open_dump, render in (
            (open_issues, issue.render),
            (open_pull_requests, pull_request.render),
        ):
            for file in open_dump(path).files():
                if not file.problem:
                    render(file.data)

    url = "https://api.github.com/repos/a/b/issues/7"
    user = {"login": "ada"}
    opened = {"number": 7, "title": "It breaks", "url": url, "user": user, "state": "closed",
              "body": "> quoted\n\nOn Monday Ada wrote:\n> x\n" * 9, "created_at": "2024-01-01",
              "closed_at": "2024-02-01", "comments": 1}  # fmt: skip
    comment = {"issue_url": url, "id": 5, "user": {"login": "bob"}, "body": "No. " * 40,
               "created_at": "2024-01-02"}  # fmt: skip
    pull = {"number": 8, "title": "Mend it", "url": url.replace("issues/7", "pulls/8"),
            "user": user, "body": "Words " * 30, "merged": True, "merged_at": "2024-01-03",
            "base": {"ref": "main", "sha": "0" * 40}, "created_at": "2024-01-01",
            "files": [{"filename": "a.py", "status": "modified", "base_code": "x = 1\n" * 30,
                       "patch": "@@ -1,2 +1,2 @@\n x = 1\n-x = 1\n+x = 2"}]}  # fmt: skip
    review = {"pull_request_url": pull["url"], "id": 9, "user": {"login": "eve"}, "body": "Good",
              "diff_hunk": "@@ -1 +1 @@\n-a\n+b", "path": "a.py", "line": 1,
              "created_at": "2024-01-02", "pull_request_review_id": 3}  # fmt: skip
    event = {"type": "IssuesEvent", "payload": {"action": "opened", "issue": opened},
             "repo": {"name": "a/b"}, "actor": user, "created_at": "2024-01-01"}  # fmt: skip
    seed = b"\n".join(json.dumps(one).encode() for one in (opened, comment, pull, review, event))
    return Target(parse=parse, allowed=(SourceError,), seeds=(seed,), mutate=any_json_lines)


def _git_objects() -> Target:
    """Bytes of trees and commits, as a repository that nobody checks may hold them."""
    from attribution.swhid import directory_entries
    from train.corpus.sources.commits import _parse
    from train.corpus.sources.git import _entries, tree_of_commit
    from train.corpus.sources.git_objects import GitObject

    def parse(data: bytes, _: Path) -> None:
        found = GitObject(object_id="0" * 40, data=data)
        _entries(found)
        _parse(found)
        tree_of_commit(data)
        try:
            directory_entries(data)
        except ValueError:
            pass

    commit = (
        b"tree " + b"a" * 40 + b"\nparent " + b"b" * 40 + b"\nauthor A <a@b> 1700000000 +0200\n"
        b"encoding iso-8859-1\n\nA subject\n\nSigned-off-by: A <a@b>\n"
    )
    tree = (
        b"100644 a.py\0" + bytes(20) + b"40000 d\0" + bytes(range(20)) + b"120000 l\0" + b"x" * 20
    )
    return Target(parse=parse, allowed=(), seeds=(commit, tree))


def _commit_text() -> Target:
    """What `commits` writes, and `formats.commit` and `hunks` read."""
    from train.corpus.formats import commit, hunks

    def parse(data: bytes, _: Path) -> None:
        text = data.decode("utf-8", "replace")
        half = len(text) // 2
        item = {"path": "a.py", "subject": text[:60], "old": text[:half], "new": text[half:],
                "sha": "0" * 40, "message": text, "date": "", "parent": ""}  # fmt: skip
        commit.render(json.dumps(item).encode())
        parsed = hunks.parse(text)
        old = text.split("\n")
        hunks.windows(hunks.widen(parsed, old, 9), old, 5)

    return Target(
        parse=parse,
        allowed=(),
        seeds=(b"@@ -1,3 +1,4 @@ def\n a\n-b\n+c\n+d\n e\n@@ -10,2 +11 @@\n x\n-y\n",),
    )


def _opt_out() -> Target:
    from train.corpus.optout import OptOut
    from train.errors import RecipeError

    def parse(data: bytes, folder: Path) -> None:
        path = folder / "opt-out.txt"
        path.write_bytes(data)
        opted = OptOut.load(path)
        opted.excludes_source("github:a/b", "1")

    seeds = (
        b"# words\nowner:a\nrepo:a/b\npackage:x\npath:github:a/b/**/*.py\nswhid:swh:1:cnt:"
        + b"0" * 40,
        json.dumps({"optout_owners": ["a"]}).encode(),
    )
    return Target(parse=parse, allowed=(RecipeError,), seeds=seeds)


def _licence_words() -> Target:
    from train.corpus.licensing.expressions import expression_of, id_of_name, is_permissive
    from train.errors import LicenceRefused

    def parse(data: bytes, _: Path) -> None:
        text = data.decode("utf-8", "replace")
        expression_of(text)
        id_of_name(text)
        is_permissive(text)

    seeds = (b"(MIT OR GPL-3.0-only WITH Classpath-exception-2.0) AND Apache-2.0", b"BSD 3-Clause")
    return Target(parse=parse, allowed=(LicenceRefused,), seeds=seeds)


def _encodings() -> Target:
    from attribution.sources.documents import decode
    from train.corpus.encodings import decode_declared

    def parse(data: bytes, _: Path) -> None:
        name, _newline, body = data.partition(b"\n")
        try:
            decode_declared(body, name.decode("latin-1"))
        except (UnicodeError, LookupError):
            pass
        try:
            decode(data)
        except UnicodeError:
            pass

    return Target(parse=parse, allowed=(), seeds=(b"cp1252\nx = '\xe4'\n", b"utf-16\n\xff\xfea\0"))


def _content_table() -> Target:
    from train.corpus.sources.content_table import Lines, columns_of, rows_of
    from train.errors import SourceError

    def parse(data: bytes, folder: Path) -> None:
        is_csv = data[:1] != b"{"
        table = folder / ("list.csv" if is_csv else "list.jsonl")
        lines = Lines(io.BytesIO(data), table, 0, 1)
        list(rows_of(lines, columns_of(lines, table) if is_csv else ()))

    name = b"swh:1:cnt:" + b"0" * 40
    seeds = (b"swhid,path,licence\n" + name + b",a/b.py,MIT\n", b'{"swhid": "' + name + b'"}\n')
    return Target(parse=parse, allowed=(SourceError,), seeds=seeds)


TRAINING: Mapping[str, Callable[[], Target]] = {
    "recipe": _recipe, "safetensors": _safetensors, "checkpoint": _checkpoint,
    "archives": _archives, "indexed_archives": _indexed_archives, "notebook": _notebook,
    "threads": _threads, "git_objects": _git_objects, "commit_text": _commit_text,
    "opt_out": _opt_out, "licence_words": _licence_words, "encodings": _encodings,
    "content_table": _content_table,
}  # fmt: skip

"""What happens to one file, stage by stage, in words.

The very stages of the pipeline run on the file alone. What is decided among all files
(duplicates, shares) is looked up in the manifest of a finished run, if there is one.
"""

from collections.abc import Iterator
from pathlib import Path

from train.corpus.licensing.project import ProjectLicences
from train.corpus.pipeline import CorpusPaths
from train.corpus.raw_file import MAX_FILE_BYTES, Kind, RawFile
from train.corpus.source_file import read_rows
from train.corpus.stages import Item, build_stages
from train.errors import CorpusError
from train.recipe import Recipe


def explain(recipe: Recipe, path: Path, run: Path) -> Iterator[str]:
    """Lines that tell the way of the file at `path` through the stages of `recipe`."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise CorpusError(f"{path} cannot be read ({error.strerror}): name a file") from error
    problem = "too large" if len(data) > MAX_FILE_BYTES else ""
    # Alone, a file has no project whose licence it could share: only its own header speaks.
    no_project = {"": ProjectLicences.from_files("", "", ())}
    stages = build_stages(recipe.corpus, recipe.path.parent, no_project)
    # Folders in the path count: that of a vendored copy gives it away.
    name = path.as_posix().lstrip("/")
    raw = RawFile(path=name, data=b"" if problem else data, problem=problem)
    item = Item.from_raw(raw, origin=f"folder:{path.resolve().parent.name}", version="")
    yield f"{name!r}: {item.n_bytes} bytes, {item.swhid or 'not read'}"
    for stage in stages:
        reason = stage(item)
        yield f"  {stage.name:<14}{'dropped: ' + reason if reason else _found(stage.name, item)}"
        if reason and stage.name != "licence":
            break
        if reason:
            yield "                (its project may have a licence; the other stages follow)"
    yield from _in_manifest(item.swhid, run)


def _found(stage_name: str, item: Item) -> str:
    match stage_name:
        case "language":
            return item.language
        case "format":
            layout = "" if item.kind is Kind.FILE else f" as {item.kind.value}"
            return f"{item.n_bytes} bytes of text{layout}, {item.n_tokens} tokens"
        case "licence":
            return f"{item.licence.expression} ({item.licence.evidence})"
        case "redact":
            counts = ", ".join(f"{kind} {n}" for kind, n in sorted(item.redacted.items()))
            return f"replaced: {counts}" if counts else "nothing to replace"
        case _:
            return "kept"


def _in_manifest(swhid: str, run: Path) -> Iterator[str]:
    manifest = CorpusPaths(root=run).manifest
    if not manifest.is_file():
        yield f"  duplicates and shares are decided among all files: {run} has no corpus yet"
        return
    n_found = 0
    for row in read_rows(manifest):
        if row["swhid"] == swhid:
            n_found += 1
            verdict = row["verdict"]
            if verdict == "dropped":
                verdict = f"dropped at {row['stage']}: {row['reason']}"
            yield f"  in {run} as {row['origin']} {row['version']} {row['path']}: {verdict}"
    if not n_found:
        yield f"  no file with these bytes was seen by {run}"

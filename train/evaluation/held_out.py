"""Held-out files: whole projects that no corpus of Starling's may contain."""

from pathlib import Path

from train.corpus.source_file import SourceFile as SourceFile
from train.corpus.source_file import read_shards
from train.errors import CorpusError


def held_out_files(directory: Path, *, language: str = "") -> list[SourceFile]:
    """The files of a held-out folder in stable order, in one language or (empty) in all.

    Files without text, and layouts whose text spells special tokens (issues, notebooks), are left
    out: nobody types them. Raises CorpusError when nothing is left.
    """
    files = sorted(read_shards(directory), key=lambda file: (file.origin, file.path))
    files = [file for file in files if file.kind == "file" and file.text.strip()]
    if not files:
        raise CorpusError(f"{directory} holds no files: run `starling train corpus` again")
    found = [file for file in files if language.lower() in ("", file.language.lower())]
    if not found:
        known = ", ".join(sorted({file.language for file in files}))
        raise CorpusError(f"{directory} holds no {language} file: take --language of {known}")
    return found


def file_of_text(text: str, *, origin: str, path: str) -> SourceFile:
    """A text from elsewhere as a held-out file, for those who draw holes from files."""
    return SourceFile(
        origin=origin, version="", path=path, licence="", language="", swhid="", text=text
    )

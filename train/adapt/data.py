"""The data of an adaptation: the user's code, cut into what is learned and what is held out.

    WORK/source                own corpus as `train.corpus` makes it: redacted, deduplicated
    WORK/corpus, held_out      its files, split by hash
    WORK/index                 attribution index of `corpus`
    WORK/other                 code that is not the user's, to see what is forgotten
    WORK/tokenizer             the base's tokenizer, and the tokens of `corpus` and the replay
    WORK/data.json             written last: counts, and that all of it is there

Replay are files that the base was trained on already. They are taken only if the base's manifest
lists them with the same content and size, so that the base's index covers them.
"""

import hashlib
import heapq
import json
import shutil
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tokenizers import Tokenizer

from attribution.build import build_index
from attribution.manifest import ManifestRow
from train.corpus.executors import Cluster
from train.corpus.opening import with_sources
from train.corpus.pipeline import CorpusPaths, build_corpus
from train.corpus.raw_file import Kind
from train.corpus.source_file import (
    SHARD_SUFFIX,
    SourceFile,
    read_rows,
    read_shards,
    write_json,
    write_shard,
)
from train.corpus.tasks import CORPUS_FOLDER, HELD_OUT_FOLDER
from train.errors import CorpusError
from train.model.start import TOKENIZER_FILE
from train.recipe import Recipe
from train.samples.shards import write_tokens
from train.samples.tokenizer import encode_layout, load_tokenizer, n_special_tokens, sha256_of

HELD_OUT_SHARE = 0.1
MAX_HELD_OUT_BYTES = 200_000
"""Of the user's code, and of other code: enough for intervals of a per cent or two."""
MIN_BYTES = 20_000
"""Less code than this teaches nothing and leaves nothing to measure on."""
REPLAY_SHARE = 1 / 3
"""Of all text."""

Say = Callable[[str], None]
RowId = tuple[str, int]
"""SWHID and size of the model text: what makes two manifest rows stand for one text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaptData:
    """Where the data lies, and how much of it there is."""

    own_corpus_id: str
    """Of the user's code that is trained on."""
    language_bytes: dict[str, int]
    """Of the same, most bytes first."""
    licence_files: dict[str, int]
    origins: dict[str, str]
    """Projects and their versions."""
    n_files: int
    n_bytes: int
    n_held_out_files: int
    n_held_out_bytes: int
    n_replay_files: int
    n_replay_bytes: int
    n_tokens: int
    """Of own code and replay."""
    other_code: str
    """What the files in `other` are; empty when there are none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkPaths:
    """Names in the work folder of an adaptation."""

    root: Path

    @property
    def source(self) -> Path:
        """A run folder of `train.corpus`."""
        return self.root / "source"

    @property
    def corpus(self) -> Path:
        """Own files that are trained on."""
        return self.root / CORPUS_FOLDER

    @property
    def held_out(self) -> Path:
        """Own files that are not."""
        return self.root / HELD_OUT_FOLDER

    @property
    def other(self) -> Path:
        """Files of others."""
        return self.root / "other"

    @property
    def index(self) -> Path:
        """Attribution index of `corpus`."""
        return self.root / "index"

    @property
    def tokenizer(self) -> Path:
        """The base's."""
        return self.root / "tokenizer" / TOKENIZER_FILE

    @property
    def tokens(self) -> Path:
        """Shard of own code and replay."""
        return self.root / "tokenizer" / "tokens.bin"

    @property
    def held_out_tokens(self) -> Path:
        """Shard of `held_out`."""
        return self.root / "tokenizer" / "held_out.bin"

    @property
    def data(self) -> Path:
        """`AdaptData`."""
        return self.root / "data.json"


def make_data(
    recipe: Recipe,
    paths: Sequence[Path],
    work: Path,
    *,
    base_rows: Collection[ManifestRow],
    replay: Path | None,
    cluster: Cluster,
    say: Say,
) -> AdaptData:
    """Corpus, index and tokens below `work`; the tokenizer is there already.

    What an earlier call made is taken as it is, also when `paths` changed since, so that a killed
    run goes on with the same data.
    """
    here = WorkPaths(root=work)
    if here.data.is_file():
        return AdaptData(**json.loads(here.data.read_text(encoding="utf-8")))
    build_corpus(with_sources(recipe, paths), here.source, cluster=cluster, say=say)
    tokenizer = load_tokenizer(here.tokenizer)
    own = [file for file in read_shards(here.source / CORPUS_FOLDER) if _can_spell(tokenizer, file)]
    held_out = _drawn_files(own)
    held_out_ids = {(file.origin, file.path) for file in held_out}
    learned = [file for file in own if (file.origin, file.path) not in held_out_ids]
    _write_folder(here.corpus, learned)
    _write_folder(here.held_out, held_out)
    corpus_id = build_index(here.index, _documents(here.source, learned))
    n_bytes = sum(map(_size, learned))
    replayed, other, other_code = _code_of_others(
        replay,
        base_rows,
        {file.swhid for file in own},
        int(n_bytes * REPLAY_SHARE / (1 - REPLAY_SHARE)),
    )
    _write_folder(here.other, other)
    tokens = _write_tokens(here, [*learned, *replayed], held_out, tokenizer, corpus_id)
    data = AdaptData(
        own_corpus_id=corpus_id,
        language_bytes=_counted((file.language, _size(file)) for file in learned),
        licence_files=_counted((file.licence, 1) for file in learned),
        origins={file.origin: file.version for file in learned},
        n_files=len(learned),
        n_bytes=n_bytes,
        n_held_out_files=len(held_out),
        n_held_out_bytes=sum(map(_size, held_out)),
        n_replay_files=len(replayed),
        n_replay_bytes=sum(map(_size, replayed)),
        n_tokens=tokens,
        other_code=other_code,
    )
    write_json(here.data, asdict(data))
    return data


def notices_of(work: Path) -> Path:
    """Licence texts of the user's projects."""
    return CorpusPaths(root=WorkPaths(root=work).source).notices


def _can_spell(tokenizer: Tokenizer, file: SourceFile) -> bool:
    """Whether the tokenizer has the special token that a layout (a notebook) begins with.

    An older tokenizer lacks some; a layout spelled out as text would teach the model to write it.
    """
    if file.kind == Kind.FILE:
        return True
    ids = encode_layout(tokenizer, file.text[:64])
    return bool(ids) and ids[0] < n_special_tokens(tokenizer)


def _drawn_files(files: Sequence[SourceFile]) -> list[SourceFile]:
    """About HELD_OUT_SHARE of the text as whole plain files, the same ones on every machine."""
    n_bytes = sum(map(_size, files))
    if n_bytes < MIN_BYTES or len(files) < 2:
        raise CorpusError(
            f"there are only {len(files)} files with {n_bytes} bytes of code left to learn from, "
            f"and {MIN_BYTES} in at least two files are needed to hold some out: name more code"
        )
    wanted = min(int(HELD_OUT_SHARE * n_bytes), MAX_HELD_OUT_BYTES)
    plain = sorted((file for file in files if file.kind == Kind.FILE), key=_draw)
    if not plain:
        raise CorpusError(
            "there are notebooks only, and plain files are needed to measure: add some"
        )
    drawn = _fitting(plain, wanted)
    # Where every file is larger than the share, the smallest is nearest to it.
    return drawn or [min(plain, key=_size)]


def _fitting(files: Iterable[SourceFile], n_bytes: int) -> list[SourceFile]:
    """Files in their order that fit into `n_bytes` together; one that does not is passed over."""
    taken = []
    for file in files:
        if _size(file) <= n_bytes:
            taken.append(file)
            n_bytes -= _size(file)
    return taken


def _code_of_others(
    replay: Path | None, base_rows: Collection[ManifestRow], own: set[str], n_replay_bytes: int
) -> tuple[list[SourceFile], list[SourceFile], str]:
    """Files to replay, files to measure forgetting on, and what the latter are.

    `own` has the SWHIDs of the user's files: a project that holds one of them is the user's.
    """
    if replay is None:
        return [], [], ""
    known = {(row.swhid, row.n_bytes) for row in base_rows}
    candidates = _lowest(read_shards(replay), known, own, n_replay_bytes + MAX_HELD_OUT_BYTES)
    replayed = _fitting(candidates, n_replay_bytes)
    held_out = replay.parent / HELD_OUT_FOLDER
    if any(held_out.glob("*" + SHARD_SUFFIX)):
        files = [file for file in read_shards(held_out) if file.kind == Kind.FILE]
        of_user = {file.origin for file in files if file.swhid in own}
        others = sorted((file for file in files if file.origin not in of_user), key=_draw)
        if drawn := _fitting(others, MAX_HELD_OUT_BYTES):
            return replayed, drawn, "projects that the base was not trained on"
    taken = {(file.origin, file.path) for file in replayed}
    rest = [file for file in candidates if (file.origin, file.path) not in taken]
    drawn = _fitting(rest, MAX_HELD_OUT_BYTES)
    return replayed, drawn, "training files of the base that are not replayed" if drawn else ""


def _lowest(
    files: Iterable[SourceFile], known: set[RowId], own: set[str], n_bytes: int
) -> list[SourceFile]:
    """Of the known files that are not the user's those with the lowest hash, `n_bytes` in all.

    One pass, in memory for `n_bytes`: a corpus may be much larger.
    """
    # Turned around, because heapq keeps the smallest on top and the largest is to go first.
    heap: list[tuple[int, int, SourceFile]] = []
    n_kept = 0
    for number, file in enumerate(files):
        if file.kind != Kind.FILE or file.swhid in own or (file.swhid, _size(file)) not in known:
            continue
        heapq.heappush(heap, (-_draw(file), number, file))
        n_kept += _size(file)
        while heap and n_kept - _size(heap[0][2]) >= n_bytes:
            n_kept -= _size(heapq.heappop(heap)[2])
    return [file for _, _, file in sorted(heap, key=lambda entry: -entry[0])]


def _draw(file: SourceFile) -> int:
    name = f"{file.origin}/{file.path}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.sha256(name).digest()[:8], "big")


def _size(file: SourceFile) -> int:
    return len(file.text.encode("utf-8", "surrogatepass"))


def _write_folder(folder: Path, files: Iterable[SourceFile]) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    write_shard(folder / f"files{SHARD_SUFFIX}", files)


def _documents(source: Path, files: Iterable[SourceFile]) -> Iterator[tuple[ManifestRow, str]]:
    """Rows and texts of own files, each with the cluster that deduplication gave it."""
    clusters = {
        (row["origin"], row["path"], row["swhid"]): row["cluster"]
        for row in read_rows(CorpusPaths(root=source).manifest)
        if row["verdict"] == "kept"
    }
    for file in files:
        row = ManifestRow(
            swhid=file.swhid,
            origin=file.origin,
            version=file.version,
            path=file.path,
            licence=file.licence,
            language=file.language,
            n_bytes=_size(file),
            cluster=clusters[file.origin, file.path, file.swhid],
        )
        yield row, file.text


def _write_tokens(
    here: WorkPaths,
    learned: Iterable[SourceFile],
    held_out: Iterable[SourceFile],
    tokenizer: Tokenizer,
    corpus_id: str,
) -> int:
    """Both shards; the number of tokens that are learned."""
    digest = sha256_of(here.tokenizer)
    for path, files in ((here.held_out_tokens, held_out), (here.tokens, learned)):
        shard = write_tokens(path, files, tokenizer, tokenizer_sha256=digest, corpus_id=corpus_id)
    return len(shard.tokens_N)


def _counted(items: Iterable[tuple[str, int]]) -> dict[str, int]:
    """Sums by name, the largest first."""
    sums: Counter[str] = Counter()
    for name, n in items:
        sums[name] += n
    return dict(sorted(sums.items(), key=lambda item: (-item[1], item[0])))

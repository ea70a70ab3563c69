"""Recipes: one TOML file that says what to train on and how.

A recipe is found by name in ``train/recipes/`` or by path. Every key is known here; an unknown one
is refused with the nearest known name, so that a misspelt setting never falls back in silence.
"""

import difflib
import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from train.errors import RecipeError

RECIPES_DIRECTORY = Path(__file__).resolve().parent / "recipes"

MIN_ROW_TOKENS = 64
"""A shorter row has no room for a sample with its sentinels."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One project to learn from, or to hold out: where it lies, and what is known of it.

    Exactly one of the places `PLACES` is given; relative paths start at the recipe file.
    """

    pin: str = ""
    """``name==version`` of a Python distribution. It is read as an archive, nothing is executed."""
    archive: str = ""
    """A wheel, zip or tar file on this machine."""
    folder: str = ""
    git: str = ""
    """A git repository, with work tree or bare: its files at `revision`."""
    commits: str = ""
    """A git repository: its commits up to `revision`, with their messages."""
    issues: str = ""
    """Issues as the GitHub API or GH Archive give them: JSON or JSON lines, or a folder of such."""
    pull_requests: str = ""
    """Pull requests, likewise."""
    contents: str = ""
    """A table of Software Heritage content ids, whose bytes lie in `store`."""

    licence: str = ""
    """SPDX expression. Needed for a pin, where the metadata must agree; elsewhere, if empty, what
    the project's own licence files say."""
    name: str = ""
    """Name in manifests; a pin has its own."""
    distribution: str = "wheel"
    """Of a pin: ``wheel`` (what is installed) or ``sdist`` (tests, documentation and C too)."""
    sha256: str = ""
    """Of a pin: the archive must have this hash. `starling train corpus --lock` writes it."""
    revision: str = "HEAD"
    store: str = ""
    weight: float = 1.0
    """Of near duplicates under equal licences, the file of the heaviest project is kept."""

    def __post_init__(self) -> None:
        given = [place for place in PLACES if getattr(self, place)]
        if len(given) != 1:
            raise RecipeError(f"a source needs exactly one of {', '.join(PLACES)}")
        if self.pin and self.pin.count("==") != 1:
            raise RecipeError(f"the pin {self.pin!r} is not of the form name==version")
        if self.pin and not self.licence:
            raise RecipeError(f"the pin {self.pin!r} needs its `licence`")
        if not self.pin and not self.name:
            raise RecipeError(f"the source {self.location!r} needs a `name`")
        if self.distribution not in ("wheel", "sdist"):
            raise RecipeError(f"distribution is {self.distribution!r}: write wheel or sdist")
        if self.contents and not self.store:
            raise RecipeError(f"the contents {self.contents!r} need a `store`, the folder of bytes")
        if not 0 < self.weight < math.inf:
            raise RecipeError(f"weight is {self.weight}, it must be positive")
        if any(not character.isprintable() for character in self.name):
            raise RecipeError(
                f"the name {self.name!r} holds unprintable characters: choose another"
            )

    @property
    def place(self) -> str:
        """Which of `PLACES` is given."""
        return next(place for place in PLACES if getattr(self, place))

    @property
    def location(self) -> str:
        """The pin or path."""
        return str(getattr(self, self.place))

    @property
    def origin(self) -> str:
        """How manifests name the project, e.g. ``pypi:requests`` or ``folder:runtime``."""
        if self.pin:
            return f"pypi:{self.pin.partition('==')[0]}"
        return f"{self.place}:{self.name}"


PLACES = ("pin", "archive", "folder", "git", "commits", "issues", "pull_requests", "contents")
"""The kinds of places where a source can lie; each is a field of `Source`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusConfig:
    """What is read and kept."""

    languages: tuple[str, ...]
    """Languages that are kept, by the names of `train.corpus.languages`; ``*`` is all of them."""
    max_source_bytes: int
    """At most so much text of one project, so that no large project drowns the others."""
    main_language: str = ""
    """With it, all other languages together are capped to `max_other_share` of the corpus."""
    max_other_share: float = 0.25
    licences: str = "permissive"
    """``permissive`` keeps files under permissive licences only; ``any`` records and keeps all, for
    code that is the user's own."""
    notebooks: str = "structured"
    """``structured`` (cells and outputs with StarCoder's tokens) or ``script``."""
    opt_out: str = ""
    """File of owners, repositories, packages, paths and SWHIDs that are left out."""
    decontaminate: tuple[str, ...] = ()
    """Benchmark files; what holds one of their items is dropped."""
    index: bool = True
    """Build the attribution index too."""

    def __post_init__(self) -> None:
        _require_positive(self, "corpus", but=("max_other_share",))
        if not 0 <= self.max_other_share < 1:
            raise RecipeError(
                f"corpus.max_other_share is {self.max_other_share}, it must lie in 0 to 1"
            )
        for name, known in (
            ("licences", ("permissive", "any")),
            ("notebooks", ("structured", "script")),
        ):
            if getattr(self, name) not in known:
                raise RecipeError(
                    f"corpus.{name} is {getattr(self, name)!r}: write {' or '.join(known)}"
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerConfig:
    """Byte-level BPE."""

    vocab_size: int
    """Tokens including the special ones."""

    def __post_init__(self) -> None:
        if not 300 <= self.vocab_size <= 1 << 16:
            raise RecipeError(
                f"tokenizer.vocab_size is {self.vocab_size}, it must lie between 300 and 65536"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """Qwen3 architecture with one key/value head and tied embeddings."""

    name: str
    n_layers: int
    d_model: int
    d_ff: int
    n_heads: int
    head_dim: int
    context_tokens: int
    """Longest sequence that the model is used with."""
    rope_theta: float = 10_000.0

    def __post_init__(self) -> None:
        _require_positive(self, "model")
        if self.head_dim % 2:
            raise RecipeError(f"model.head_dim is {self.head_dim}, rotary positions need it even")


@dataclass(frozen=True, slots=True, kw_only=True)
class FitConfig:
    """Optimization."""

    seed: int
    row_tokens: int
    """Length of a packed row."""
    batch_rows: int
    """Rows of one step."""
    n_steps: int
    """Steps of the whole schedule; `--minutes` may shorten it."""
    warmup_steps: int
    decay_share: float
    """Last share of the schedule, in which learning rates fall linearly to zero."""
    muon_lr: float
    """Learning rate of matrices."""
    adamw_lr: float
    """Learning rate of embeddings and norms."""
    weight_decay: float = 0.05
    clip_norm: float = 1.0
    fim_rate: float = 0.8
    """Share of samples that are turned into fill-in-the-middle."""
    checkpoint_seconds: float = 300.0
    """Wall time between two checkpoints."""
    compile: bool = True
    """torch.compile; off where its minute of start-up does not pay."""

    def __post_init__(self) -> None:
        _require_positive(self, "fit", but=("seed", "warmup_steps", "decay_share", "weight_decay",
                                            "fim_rate"))  # fmt: skip
        for name in ("decay_share", "fim_rate"):
            if not 0 <= getattr(self, name) <= 1:
                raise RecipeError(f"fit.{name} is {getattr(self, name)}, it must lie in 0 to 1")
        if self.row_tokens < MIN_ROW_TOKENS:
            raise RecipeError(
                f"fit.row_tokens is {self.row_tokens}, it must be at least {MIN_ROW_TOKENS}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Everything that decides the weights."""

    name: str
    path: Path
    sources: tuple[Source, ...]
    held_out: tuple[Source, ...]
    """Projects never trained on, kept whole for evaluation."""
    corpus: CorpusConfig
    tokenizer: TokenizerConfig
    model: ModelConfig
    fit: FitConfig


def load_recipe(name_or_path: str) -> Recipe:
    """The recipe of that name, or in that TOML file; raises RecipeError."""
    path = Path(name_or_path)
    if path.suffix != ".toml":
        path = RECIPES_DIRECTORY / f"{name_or_path}.toml"
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        known = ", ".join(sorted(file.stem for file in RECIPES_DIRECTORY.glob("*.toml")))
        raise RecipeError(
            f"there is no recipe {name_or_path!r}: use one of {known}, or the path of a .toml file"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path} is not valid TOML: {error}") from error
    _refuse_unknown(
        values, ("source", "held_out", "corpus", "tokenizer", "model", "fit"), str(path)
    )
    held_out = _sources(values, "held_out", path)
    sources = _sources(values, "source", path)
    _refuse_doubled((*held_out, *sources), path)
    return Recipe(
        name=path.stem,
        path=path.resolve(),
        sources=sources,
        held_out=held_out,
        corpus=_section(CorpusConfig, values, "corpus", path),
        tokenizer=_section(TokenizerConfig, values, "tokenizer", path),
        model=_section(ModelConfig, values, "model", path),
        fit=_section(FitConfig, values, "fit", path),
    )


def _sources(values: Mapping[str, Any], key: str, path: Path) -> tuple[Source, ...]:
    rows = values.get(key, [])
    if not isinstance(rows, list):
        raise RecipeError(f"{path}: `{key}` must be a list of tables, written [[{key}]]")
    return tuple(
        _build(Source, row, f"[[{key}]] number {i + 1}", path) for i, row in enumerate(rows)
    )


def _refuse_doubled(sources: tuple[Source, ...], path: Path) -> None:
    # PEP 503: distributions whose names differ only in case and separators are one.
    names = [
        re.sub(r"[-_.]+", "-", source.origin).lower() if source.pin else source.origin
        for source in sources
    ]
    if doubled := {name for name in names if names.count(name) > 1}:
        raise RecipeError(f"{path} names {', '.join(sorted(doubled))} twice: keep one")


def _section(kind: type[T], values: Mapping[str, Any], key: str, path: Path) -> T:
    if not isinstance(values.get(key), dict):
        raise RecipeError(f"{path} has no [{key}] section: add one")
    return _build(kind, values[key], f"[{key}]", path)


def _build(kind: type[T], values: Mapping[str, Any], where: str, path: Path) -> T:
    known = {field.name: field for field in fields(kind)}  # type: ignore[arg-type]
    _refuse_unknown(values, known, f"{path} {where}")
    missing = [
        name for name, field in known.items() if field.default is MISSING and name not in values
    ]
    if missing:
        raise RecipeError(f"{path} {where} lacks {', '.join(missing)}: add it")
    checked = {}
    for name, value in values.items():
        checked[name] = _checked(value, known[name].type, f"{path} {where} {name}")
    return kind(**checked)


def _checked(value: Any, annotation: Any, where: str) -> Any:
    if annotation is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if annotation == tuple[str, ...] and isinstance(value, list):
        if all(isinstance(item, str) for item in value):
            return tuple(value)
        raise RecipeError(f"{where} must be a list of strings, not {value!r}")
    if not isinstance(annotation, type) or type(value) is not annotation:
        wanted = getattr(annotation, "__name__", str(annotation))
        raise RecipeError(f"{where} must be of type {wanted}, not {value!r}")
    return value


def _require_positive(config: Any, section: str, *, but: tuple[str, ...] = ()) -> None:
    for field in fields(config):
        value = getattr(config, field.name)
        if field.name not in but and isinstance(value, int | float) and value <= 0:
            if not isinstance(value, bool):
                raise RecipeError(f"{section}.{field.name} is {value}, it must be positive")


def _refuse_unknown(values: Mapping[str, Any], known: Any, where: str) -> None:
    for key in values:
        if key not in known:
            near = difflib.get_close_matches(key, list(known), n=1)
            hint = f"did you mean `{near[0]}`?" if near else f"known keys: {', '.join(known)}"
            raise RecipeError(f"{where} has an unknown key `{key}`: {hint}")

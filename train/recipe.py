"""Recipes: everything that decides the weights. `train.recipe_file` reads them from TOML."""

import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from train.errors import RecipeError

MIN_ROW_TOKENS = 64
"""A shorter row has no room for a sample with its sentinels."""


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
        _require_positive(self, "corpus", may_be_zero=("max_other_share",))
        if not 0 <= self.max_other_share < 1:
            raise RecipeError(
                f"corpus.max_other_share is {self.max_other_share}, it must lie in 0 to 1"
            )
        for name, known in (
            ("licences", ("permissive", "any")),
            ("notebooks", ("structured", "script")),
        ):
            _require_one_of(getattr(self, name), known, f"corpus.{name}")


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
    """A decoder."""

    name: str
    n_layers: int
    d_model: int
    d_ff: int
    n_heads: int
    head_dim: int
    context_tokens: int
    """Longest sequence that the model is used with."""
    architecture: str = "qwen3"
    """``qwen3`` (RMSNorm, RoPE, QK-norm, SwiGLU), ``gpt_bigcode`` (StarCoder: LayerNorm, learned
    positions, GELU) or ``starcoder2`` (LayerNorm, RoPE, GELU)."""
    n_kv_heads: int = 1
    """Key/value heads; one is multi-query attention."""
    rope_theta: float = 10_000.0
    norm_eps: float = 1e-6
    init_std: float = 0.02
    dropout: float = 0.0
    """Of residuals and embeddings; attention weights have none."""
    sliding_window_tokens: int = 0
    """`starcoder2`: how far back a position sees; 0 is the whole context."""
    tied_embeddings: bool = True
    """The output matrix is the input embedding."""

    def __post_init__(self) -> None:
        _require_positive(self, "model", may_be_zero=("dropout", "sliding_window_tokens"))
        _require_one_of(self.architecture, ("qwen3", "gpt_bigcode", "starcoder2"),
                        "model.architecture")  # fmt: skip
        if self.head_dim % 2:
            raise RecipeError(f"model.head_dim is {self.head_dim}, rotary positions need it even")
        if self.n_heads % self.n_kv_heads:
            raise RecipeError(
                f"model.n_heads is {self.n_heads}, it must be a multiple of n_kv_heads "
                f"({self.n_kv_heads})"
            )
        if not 0 <= self.dropout < 1:
            raise RecipeError(f"model.dropout is {self.dropout}, it must lie in 0 to 1")
        if self.sliding_window_tokens and self.architecture != "starcoder2":
            raise RecipeError("model.sliding_window_tokens is known to starcoder2 only: remove it")
        if self.architecture == "qwen3":
            if self.dropout:
                raise RecipeError("model.dropout is not known to qwen3: remove it")
            return
        if self.head_dim * self.n_heads != self.d_model:
            raise RecipeError(
                f"{self.architecture} needs model.head_dim x n_heads = d_model: "
                f"{self.head_dim} x {self.n_heads} is not {self.d_model}"
            )
        if self.architecture == "gpt_bigcode" and (
            self.n_kv_heads != 1 or self.d_ff != 4 * self.d_model
        ):
            raise RecipeError("gpt_bigcode needs model.n_kv_heads = 1 and d_ff = 4 x d_model")


@dataclass(frozen=True, slots=True, kw_only=True)
class FitConfig:
    """Optimization."""

    seed: int
    row_tokens: int
    """Length of a packed row."""
    batch_rows: int
    """Rows of one step, over all devices."""
    n_steps: int
    """Steps of the whole schedule; `--minutes` may shorten it."""
    warmup_steps: int
    adamw_lr: float
    """Learning rate of embeddings and norms; of everything with ``optimizer = "adamw"``."""
    muon_lr: float = 0.02
    """Learning rate of matrices under ``optimizer = "muon"``."""
    optimizer: str = "muon"
    """``muon`` (matrices by Muon, the rest by AdamW) or ``adamw``."""
    schedule: str = "wsd"
    """``wsd`` (warm-up, stable, linear decay) or ``cosine``."""
    decay_share: float = 0.4
    """`wsd`: last share of the schedule, in which learning rates fall linearly."""
    final_lr_share: float = 0.0
    """Learning rates at the end of the schedule, as a share of the full ones."""
    weight_decay: float = 0.05
    clip_norm: float = 1.0
    z_loss: float = 0.0
    """Weight of the squared log-partition in the loss; 0 is off."""
    ema_decay: float = 0.0
    """Each step, the exported weights keep this share of their old value; 0 exports the last."""
    micro_rows: int = 0
    """Rows that a device computes at a time, for less memory; 0 is all of its rows."""
    activation_checkpointing: bool = False
    """Compute the blocks again in the backward pass, for less memory."""
    parallel: str = "ddp"
    """Under torchrun: ``ddp`` (each device holds the model) or ``fsdp`` (a share of it)."""
    fim_rate: float = 0.8
    """Share of samples that are turned into fill-in-the-middle."""
    other_files_share: float = 0.5
    """Share of samples that begin with other files of the project, where it has any and the sample
    has room for them."""
    file_layout: str = "file_sep"
    """How a file is introduced: ``file_sep`` as StarCoder2 and Starling's prompts do, or
    ``filename``, after ``<reponame>``, as StarCoder does."""
    checkpoint_seconds: float = 300.0
    """Wall time between two checkpoints."""
    keep_every_steps: int = 0
    """Keep the checkpoints of every so many steps for good, beside the last and the best; 0 is
    none."""
    validation_every_steps: int = 0
    """Measure the loss on held-out rows every so many steps; 0 is never."""
    validation_rows: int = 32
    """Rows that are measured."""
    compile: bool = True
    """torch.compile; off where its minute of start-up does not pay."""

    def __post_init__(self) -> None:
        _require_positive(
            self,
            "fit",
            may_be_zero=(
                "seed", "warmup_steps", "decay_share", "final_lr_share", "weight_decay", "z_loss",
                "ema_decay", "micro_rows", "fim_rate", "other_files_share", "keep_every_steps",
                "validation_every_steps",
            ),
        )  # fmt: skip
        for name in (
            "decay_share", "final_lr_share", "fim_rate", "other_files_share", "ema_decay"
        ):  # fmt: skip
            if not 0 <= getattr(self, name) <= 1:
                raise RecipeError(f"fit.{name} is {getattr(self, name)}, it must lie in 0 to 1")
        for name, known in (
            ("optimizer", ("muon", "adamw")),
            ("schedule", ("wsd", "cosine")),
            ("parallel", ("ddp", "fsdp")),
            ("file_layout", ("file_sep", "filename")),
        ):
            _require_one_of(getattr(self, name), known, f"fit.{name}")
        if self.row_tokens < MIN_ROW_TOKENS:
            raise RecipeError(
                f"fit.row_tokens is {self.row_tokens}, it must be at least {MIN_ROW_TOKENS}"
            )
        if self.micro_rows > self.batch_rows:
            raise RecipeError(
                f"fit.micro_rows is {self.micro_rows}, more than batch_rows ({self.batch_rows})"
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

    def __post_init__(self) -> None:
        if self.fit.row_tokens > self.model.context_tokens:
            raise RecipeError(
                f"fit.row_tokens is {self.fit.row_tokens}, more than model.context_tokens "
                f"({self.model.context_tokens})"
            )


def _require_positive(config: Any, section: str, *, may_be_zero: tuple[str, ...] = ()) -> None:
    for field in fields(config):
        value = getattr(config, field.name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        is_zero_fine = field.name in may_be_zero
        # Written so that nan, which TOML knows, is refused too.
        if not (value >= 0 if is_zero_fine else value > 0):
            wanted = "0 or more" if is_zero_fine else "positive"
            raise RecipeError(f"{section}.{field.name} is {value}, it must be {wanted}")


def _require_one_of(value: str, known: tuple[str, ...], where: str) -> None:
    if value not in known:
        raise RecipeError(f"{where} is {value!r}: write {' or '.join(known)}")

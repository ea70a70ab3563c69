"""What the engine says: about a model, and of each answer. Data only."""

from dataclasses import dataclass
from pathlib import Path

from runtime.fim import FimTokens, Order
from runtime.spec import ModelSpec
from runtime.stopping import StopReason


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInfo:
    """What was loaded."""

    path: Path
    size_bytes: int
    n_params: int
    architecture: str
    vocab_size: int
    context_tokens: int
    """Prompt and completion together."""
    fim: FimTokens | None
    """None: the model cannot fill in the middle."""
    order: Order
    spec: ModelSpec | None
    """None: not a model of ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Where the time went. Alternatives of one request share all but `decode_ms`, `total_ms`."""

    tokenize_ms: float
    prefill_ms: float
    decode_ms: float
    total_ms: float
    n_prompt_tokens: int
    n_reused_tokens: int
    """Prompt tokens that the KV cache already held."""
    n_decoded_tokens: int
    n_drafted_tokens: int = 0
    """Computed ahead of their turn, on the guess that they come next (see `drafts`)."""
    n_accepted_tokens: int = 0
    """Those of them that came."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """One answer."""

    text: str
    """What comes after the cursor; never repeats what healing took back."""
    token_ids: tuple[int, ...]
    """As sampled: healed tokens first, and without the end token."""
    spelled: tuple[tuple[str, float], ...]
    """What each token added to the text behind the cursor, and its log-probability. A token that
    ends inside a character adds that character to the next one's text; where the text was cut at
    its end, these go further."""
    end_logprob: float
    """Log-probability of the end token; 0.0 where the text ended otherwise."""
    mean_logprob: float
    """Over all sampled tokens, the end token too; 0.0 where none was sampled."""
    stop_reason: StopReason
    timing: Timing

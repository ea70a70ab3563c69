"""Fill-in-the-middle: the special tokens and the orders in which a prompt is laid out.

The one home of both facts: the tokenizer, the training transform, the GGUF writer and the prompt
builder all read them here. Standard library only.

Layouts (Bavarian et al. 2022, "Efficient Training of Language Models to Fill in the Middle",
section 3; SPM is StarCoder's variant 2, where nothing stands between prefix and middle):

    PSM   HEAD <fim_prefix> PREFIX <fim_suffix> SUFFIX <fim_middle>         -> MIDDLE <|endoftext|>
    SPM   HEAD <fim_prefix> <fim_suffix> SUFFIX <fim_middle> PREFIX         -> MIDDLE <|endoftext|>

Foreign models know PSM or one of these; ours are trained for the two above:

    SUFFIX_FIRST   HEAD <fim_suffix> SUFFIX <fim_prefix> PREFIX <fim_middle>           -> MIDDLE
    NO_MIDDLE      HEAD <fim_suffix> SUFFIX <fim_prefix> PREFIX                        -> MIDDLE

HEAD is the part that does not change while a user types: for each other file shown to the model
``<file_sep>PATH\\nTEXT``, then ``<file_sep>PATH\\n`` of the file itself (StarCoder2, section 2.7).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

END_OF_TEXT = "<|endoftext|>"
FIM_PREFIX = "<fim_prefix>"
FIM_MIDDLE = "<fim_middle>"
FIM_SUFFIX = "<fim_suffix>"
FIM_PAD = "<fim_pad>"
REPO_NAME = "<reponame>"
FILE_SEP = "<file_sep>"

# StarCoder2's for pull requests (Lozhkov et al. 2024, table 5), in their published order.
PULL_REQUEST_TOKENS: tuple[str, ...] = (
    "<pr>",
    "<pr_status>",
    "<pr_is_merged>",
    "<pr_base>",
    "<pr_file>",
    "<pr_base_code>",
    "<pr_diff>",
    "<pr_diff_hunk>",
    "<pr_comment>",
    "<pr_event_id>",
    "<pr_review>",
    "<pr_review_state>",
    "<pr_review_comment>",
    "<pr_in_reply_to_review_id>",
    "<pr_in_reply_to_comment_id>",
    "<pr_diff_hunk_comment_line>",
)

# StarCoder's nineteen in their published order, then StarCoder2's file separator and more. The
# order is the order of token ids in our tokenizers, so a new token goes to the end.
SPECIAL_TOKENS: tuple[str, ...] = (
    END_OF_TEXT,
    FIM_PREFIX,
    FIM_MIDDLE,
    FIM_SUFFIX,
    FIM_PAD,
    "<filename>",
    "<gh_stars>",
    "<issue_start>",
    "<issue_comment>",
    "<issue_closed>",
    "<jupyter_start>",
    "<jupyter_text>",
    "<jupyter_code>",
    "<jupyter_output>",
    "<empty_output>",
    "<commit_before>",
    "<commit_msg>",
    "<commit_after>",
    REPO_NAME,
    FILE_SEP,
    "<jupyter_script>",
    *PULL_REQUEST_TOKENS,
)


class Order(StrEnum):
    """Which part of the file stands first in the prompt."""

    PSM = "psm"
    SPM = "spm"
    SUFFIX_FIRST = "suffix_first"
    """Mellum's and Seed-Coder's."""
    NO_MIDDLE = "no_middle"
    """Codestral's."""


TRAINED_ORDERS: tuple[Order, ...] = (Order.PSM, Order.SPM)
"""Those that our own models learn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FimTokens:
    """Token ids of the sentinels in one vocabulary; None where the vocabulary has no such token."""

    prefix_id: int
    middle_id: int
    suffix_id: int
    end_of_text_id: int
    pad_id: int | None = None
    repo_id: int | None = None
    file_sep_id: int | None = None
    order: Order = Order.PSM
    """The layout that models with such tokens know, where they do not say it themselves."""

    @property
    def ids(self) -> tuple[int, ...]:
        """All that the vocabulary has."""
        known = (
            self.prefix_id, self.middle_id, self.suffix_id, self.end_of_text_id,
            self.pad_id, self.repo_id, self.file_sep_id,
        )  # fmt: skip
        return tuple(token_id for token_id in known if token_id is not None)


def own_tokens() -> FimTokens:
    """The ids in a tokenizer of ours, where the special tokens come first."""
    ids = {text: token_id for token_id, text in enumerate(SPECIAL_TOKENS)}
    return FimTokens(
        prefix_id=ids[FIM_PREFIX],
        middle_id=ids[FIM_MIDDLE],
        suffix_id=ids[FIM_SUFFIX],
        end_of_text_id=ids[END_OF_TEXT],
        pad_id=ids[FIM_PAD],
        repo_id=ids[REPO_NAME],
        file_sep_id=ids[FILE_SEP],
    )


def arrange(
    prefix_ids: Sequence[int],
    suffix_ids: Sequence[int],
    *,
    tokens: FimTokens,
    order: Order,
    head_ids: Sequence[int] = (),
) -> list[int]:
    """Token ids of the prompt after which the model writes the middle."""
    if order is Order.PSM:
        return [
            *head_ids,
            tokens.prefix_id,
            *prefix_ids,
            tokens.suffix_id,
            *suffix_ids,
            tokens.middle_id,
        ]
    if order in (Order.SUFFIX_FIRST, Order.NO_MIDDLE):
        end_ids = [tokens.middle_id] if order is Order.SUFFIX_FIRST else []
        return [
            *head_ids,
            tokens.suffix_id,
            *suffix_ids,
            tokens.prefix_id,
            *prefix_ids,
            *end_ids,
        ]
    return [
        *head_ids,
        tokens.prefix_id,
        tokens.suffix_id,
        *suffix_ids,
        tokens.middle_id,
        *prefix_ids,
    ]


def file_head(path: str) -> str:
    """The text after ``<file_sep>`` that introduces a file."""
    return f"{path}\n"

"""llama.vim's part of a completion, modelled: what it sends at a key, and its cache of answers.

After `autoload/llama.vim` of ggml-org/llama.vim (31 January 2026; MIT), in our own words. Kept:
256 lines before and 64 after the cursor, the current line as `prompt`, nothing where more than 8
characters follow on the line, its samplers, 128 tokens, 250 ms for the first answer at a place, the
cache of 250 answers with the look-back of 128 characters and the heads of up to 3 lines that may
have scrolled away. Left out, each in the rival's favour: starting curl for each request, chunks of
other files (which lengthen the prompt), the second request that is sent ahead after each answer
and makes the next key wait while it runs, and the wait of 100 ms between requests.
"""

from collections import OrderedDict
from dataclasses import dataclass

from bench.rivals.programs import LlamaServer

N_PREFIX_LINES, N_SUFFIX_LINES = 256, 64
MAX_LINE_SUFFIX_CHARS = 8
MAX_CACHED = 250
LOOK_BACK_CHARS = 128
N_TRIMMED_HEADS = 3
REQUEST = {
    "id_slot": 0,
    "n_predict": 128,
    "top_k": 40,
    "top_p": 0.90,
    "samplers": ["top_k", "top_p", "infill"],
    "stream": False,
    "cache_prompt": True,
    "t_max_prompt_ms": 500,
    "t_max_predict_ms": 250,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What is sent of a text."""

    prefix: str
    """Whole lines before the cursor's."""
    middle: str
    """The cursor's line up to it."""
    suffix: str
    n_indent: int

    @property
    def before(self) -> str:
        """All text before the cursor."""
        return self.prefix + self.middle


class LlamaVim:
    """A client of one server. `stop`: llama.vim's `stop_strings`, none by default."""

    def __init__(self, server: LlamaServer, *, stop: tuple[str, ...] = ()) -> None:
        self._server = server
        self._stop = stop
        self._cache: OrderedDict[tuple[str, str], str] = OrderedDict()

    def ask(self, prefix: str, suffix: str) -> str:
        """What the server writes between the two texts; remembered."""
        at = context(prefix, suffix)
        answer = self._server.post(
            "/infill",
            {
                **REQUEST,
                "input_prefix": at.prefix,
                "input_suffix": at.suffix,
                "input_extra": [],
                "prompt": at.middle,
                "stop": list(self._stop),
                "n_indent": at.n_indent,
            },
        )
        content: str = answer["content"]
        self._remember(at, content)
        return content

    def recall(self, prefix: str, suffix: str) -> str | None:
        """What the cache has for this place, or the longest rest of what it had for an earlier one
        that the user has typed on from; None: nothing."""
        at = context(prefix, suffix)
        whole = self._get(at.before, at.suffix)
        if whole is not None:
            return whole
        longest = ""
        for n_typed in range(1, min(LOOK_BACK_CHARS, len(at.before)) + 1):
            earlier = self._get(at.before[:-n_typed], at.suffix)
            if earlier is not None and earlier[:n_typed] == at.before[-n_typed:]:
                longest = max(longest, earlier[n_typed:], key=len)
        return longest or None

    def _get(self, before: str, suffix: str) -> str | None:
        content = self._cache.get((before, suffix))
        if content is not None:
            self._cache.move_to_end((before, suffix))
        return content

    def _remember(self, at: Context, content: str) -> None:
        prefix = at.prefix
        for _ in range(N_TRIMMED_HEADS + 1):
            self._cache[prefix + at.middle, at.suffix] = content
            self._cache.move_to_end((prefix + at.middle, at.suffix))
            prefix = prefix.partition("\n")[2]
            if not prefix:
                break
        while len(self._cache) > MAX_CACHED:
            self._cache.popitem(last=False)


def wants(suffix: str) -> bool:
    """Whether llama.vim asks by itself where this text follows."""
    return len(suffix.partition("\n")[0]) <= MAX_LINE_SUFFIX_CHARS


def context(prefix: str, suffix: str) -> Context:
    """The lines around the cursor; a line of blanks alone is left out on both sides."""
    lines = prefix.split("\n")
    above, middle = lines[:-1], lines[-1]
    rest, _, below = suffix.partition("\n")
    n_indent = len(middle) - len(middle.lstrip())
    if not (middle + rest).strip():
        middle = rest = ""
        n_indent = 0
    after = below.split("\n")[:N_SUFFIX_LINES]
    return Context(
        prefix="\n".join(above[-N_PREFIX_LINES:]) + "\n",
        middle=middle,
        suffix=rest + "\n" + "\n".join(after) + "\n",
        n_indent=n_indent,
    )

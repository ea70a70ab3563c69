"""Where a text holds personal data and secrets.

One pass over the bytes (`scan`) finds the few places worth a look; the rules of each kind then look
only there. detect-secrets is asked beside them, on the lines that it could find something on.
It does not know what the text is written in, and changes nothing: see `redact`.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from train.corpus.pii import second_opinion
from train.corpus.pii.addresses import find_email, find_ipv4, find_ipv6
from train.corpus.pii.harmless import is_path_of_hash
from train.corpus.pii.keys import find_private_key, find_provider_keys, find_random, find_symbolic
from train.corpus.pii.logins import find_login_passwords, find_table_passwords
from train.corpus.pii.names import find_name_before_address, find_names
from train.corpus.pii.passwords import find_passwords, find_url_password
from train.corpus.pii.scan import Place, places
from train.corpus.pii.span import Kind, Span, line_bounds, overlaps

LABELS = {kind: f"<{kind}>" for kind in Kind if kind is not Kind.IP_ADDRESS}
"""What `redact` writes; a span never touches one."""
_MAX_LINE_CHARS = 500
"""On each side of a place; longer lines are minified code or data."""
_LABELS = tuple(LABELS.values())


def find(text: str, *, with_second_opinion: bool = True) -> list[Span]:
    """Spans by start, none overlapping; the longer of two that overlap wins."""
    spans: list[Span] = []
    starts, ends, kinds = places(text)
    done = 0
    for start, end, kind in zip(starts.tolist(), ends.tolist(), kinds.tolist(), strict=True):
        if kind == Place.RANDOM or kind == Place.PROVIDER:
            keys, done = find_provider_keys(text, start, end, done)
            spans.extend(keys)
        if kind in _RULES:
            spans.extend(_RULES[kind](text, start, end))
    if with_second_opinion:
        ours = _without_overlaps(text, spans)
        lines = _lines_with_runs(text, starts, ends, kinds, ours)
        spans.extend(second_opinion.find_keys(text, lines, ours))
    return _without_overlaps(text, spans) if spans else spans


def _lines_with_runs(
    text: str,
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    kinds: NDArray[np.uint8],
    known: Sequence[Span],
) -> Iterator[tuple[int, int]]:
    """The lines with places that are not known yet, by start."""
    done = -1
    is_asked = (kinds == Place.RANDOM) | (kinds == Place.PROVIDER)
    for start, end in zip(starts[is_asked].tolist(), ends[is_asked].tolist(), strict=True):
        if end > done and not (is_path_of_hash(text[start:end]) or overlaps(known, start, end)):
            low, done = line_bounds(text, start, end, _MAX_LINE_CHARS)
            yield low, done


def _at(text: str, at: int, end: int) -> Iterator[Span]:
    if text[at - 1 : at].isspace() or not text[at + 1 : at + 2].isalnum():
        # Decorators, and matrix products with spaces: most of all places. A password may end oddly.
        return
    for span in find_email(text, at):
        yield span
        yield from find_name_before_address(text, span.start)
    yield from find_url_password(text, at)


def _password(text: str, start: int, end: int) -> Iterator[Span]:
    yield from find_passwords(text, start, end)
    yield from find_table_passwords(text, start)


_RULES: dict[int, Callable[[str, int, int], Iterator[Span]]] = {
    Place.AT: _at,
    Place.IPV4: find_ipv4,
    Place.IPV6: find_ipv6,
    Place.RANDOM: find_random,
    Place.PASSWORD: _password,
    Place.LOGIN: find_login_passwords,
    Place.SECRET: find_symbolic,
    Place.NAME: find_names,
    Place.PEM: find_private_key,
}


def _without_overlaps(text: str, spans: list[Span]) -> list[Span]:
    kept: list[Span] = []
    for span in sorted(set(spans), key=lambda s: (s.start, -s.end, s.kind)):
        value = text[span.start : span.end]
        if not value or any(label in value for label in _LABELS):
            continue
        if not kept or span.start >= kept[-1].end:
            kept.append(span)
        elif span.end - span.start > kept[-1].end - kept[-1].start:
            kept[-1] = span
    return kept

"""detect-secrets beside our own rules, asked only about the lines that it can say something on.

Its plugins are called directly, line by line: its own scan reads files and calls every plugin on
every line, at half a megabyte a second. What they report passes the guards of `keys`, which keep
only random-looking values; a line without a random run or a mark of a provider has none of those,
so leaving it out loses nothing (a test compares both on a sample). Where our own rules have already
found what stands at such a place, it is not asked either.
"""

import functools
import importlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from train.corpus.pii.keys import looks_random_key, looks_random_token
from train.corpus.pii.span import Kind, Span, overlaps
from train.errors import CorpusError

_PLUGINS = {
    "artifactory": "ArtifactoryDetector", "aws": "AWSKeyDetector",
    "azure_storage_key": "AzureStorageKeyDetector", "cloudant": "CloudantDetector",
    "discord": "DiscordBotTokenDetector", "github_token": "GitHubTokenDetector",
    "ibm_cloud_iam": "IbmCloudIamDetector", "ibm_cos_hmac": "IbmCosHmacDetector",
    "jwt": "JwtTokenDetector", "mailchimp": "MailchimpDetector", "npm": "NpmDetector",
    "sendgrid": "SendGridDetector", "slack": "SlackDetector", "softlayer": "SoftlayerDetector",
    "stripe": "StripeDetector", "twilio": "TwilioKeyDetector",
}  # fmt: skip
"""StarCoder's choice, with the two of entropy; those of passwords, of keywords and of private keys
are too noisy, or ours do the same."""
_CONTEXT_CHARS = 200
_DELIMITERS = " \t=:\"'`"
"""Some patterns take these with the value; replacing a quote would damage the code."""


def find_keys(
    text: str, lines: Iterable[tuple[int, int]], known: Sequence[Span] = ()
) -> Iterator[Span]:
    """Keys that detect-secrets sees on these lines (start, end) of `text` and our guards pass.

    Nothing that overlaps a span of `known`, which are by start and do not overlap: our own rules
    know better where a value ends.
    """
    for low, high in lines:
        line = text[low:high]
        for reported, is_by_entropy in _reported(line):
            value = reported.strip(_DELIMITERS)
            passes = looks_random_key if is_by_entropy else looks_random_token
            at = line.find(value)
            if at < 0 or overlaps(known, low + at, low + at + len(value)):
                continue
            around = slice(max(0, at - _CONTEXT_CHARS), at + len(value) + _CONTEXT_CHARS)
            if passes(value, line[around]):
                yield Span(low + at, low + at + len(value), Kind.KEY)


@functools.cache
def plugins() -> list[Any]:
    """The plugins of detect-secrets, made once; raises CorpusError when it is not installed."""
    try:
        from detect_secrets.plugins import high_entropy_strings as entropy

        loaded = [
            getattr(importlib.import_module(f"detect_secrets.plugins.{module}"), name)()
            for module, name in _PLUGINS.items()
        ]
    except ImportError as error:
        raise CorpusError(
            "detect-secrets is missing: install it with `pip install detect-secrets`"
        ) from error
    return [*loaded, entropy.Base64HighEntropyString(), entropy.HexHighEntropyString()]


def _reported(line: str) -> Iterator[tuple[str, bool]]:
    """What the plugins report of a line, and whether for its entropy alone."""
    for plugin in plugins():
        limit_bits = getattr(plugin, "entropy_limit", None)
        for value in plugin.analyze_string(line):
            if limit_bits is None or plugin.calculate_shannon_entropy(value) > limit_bits:
                yield value, limit_bits is not None

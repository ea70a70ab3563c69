"""Text -> its tree, also where the text ends in the middle of something."""

from __future__ import annotations

import re

from lsp_server.explain.languages import DocStyle, Language
from lsp_server.explain.syntax import Node, parse
from runtime.brackets import balance_of

# Half of `extern "C" { ... }`, which headers hide from C; no grammar can read it.
_FOR_CPP = re.compile(
    r'(^[ \t]*#[ \t]*if[^\n]*__cplusplus[^\n]*\n)((?:\s*extern\s*"C"\s*\{|\s*\})[ \t]*$)', re.M
)


def parsed(text: str, language: Language) -> tuple[Node, bool]:
    """The tree, and whether the text ends in the middle of something."""
    if language.name in ("C", "C++"):
        text = _FOR_CPP.sub(lambda found: found[1] + re.sub(r"\S", " ", found[2]), text)
    root = parse(text, language)
    if not root.has_error:
        # Python's grammar takes a header without a body.
        return root, language.doc_style is DocStyle.DOCSTRING and text.rstrip().endswith(":")
    opened = balance_of(text).opened
    if language.doc_style is DocStyle.DOCSTRING:
        ends = [opened, f"{opened}: ...", " ..."]
    else:
        ends = [opened, opened.replace("}", ";}", 1)] if opened else []
    readings = [root, *(parse(text.rstrip() + end, language) for end in ends)]
    best = min(readings, key=_n_error_bytes)
    return best, best is not root


def _n_error_bytes(root: Node) -> int:
    n_bytes, stack = 0, [root]
    while stack:
        node = stack.pop()
        if node.type == "ERROR" or node.is_missing:
            n_bytes += max(1, node.end_byte - node.start_byte)
        elif node.has_error:
            stack.extend(node.children)
    return n_bytes

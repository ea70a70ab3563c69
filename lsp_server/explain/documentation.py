"""Docstrings and doc comments -> the sentence or two that say what something is for."""

from __future__ import annotations

import re
import textwrap

from lsp_server.explain.functions import whole
from lsp_server.explain.languages import DocStyle, Language
from lsp_server.explain.syntax import Node

MAX_CHARS = 320

_COMMENT_SIGNS = re.compile(r"^[ \t]*(?:/\*[*!]*|\*/|\*|//[/!]*|#+)?[ \t]?", re.M)
_SECTION = re.compile(
    r"^\s*(?::\w+|@\w+|\\\w+|Args?\b|Arguments\b|Parameters\b|Returns?\b|Raises\b|Yields\b"
    r"|Examples?\b|Notes?\b|Usage\b|>>>|\.\. |```|# |\w[\w ]*\n\s*[-=~]{3,}|[-=~]{3,}$)",
    re.M,
)
# A full stop ends a sentence before a capital letter, unless it belongs to an abbreviation.
_SENTENCE_END = re.compile(r"(?<!\be\.g)(?<!\bi\.e)(?<!\betc)(?<!\bvs)[.!?][)\"'`]*(?=\s+\S|$)")
# What tools read: coverage, linters, formatters, editors.
_DIRECTIVE = re.compile(
    r"^[ \t]*(?:(?:c8|v8|istanbul) ignore|eslint-|prettier-ignore|@ts-|biome-ignore"
    r"|#(?:end)?region|clang-format |NOLINT|nolint|go:|\+build).*$",
    re.M,
)
_SIGNATURE = re.compile(r"[\w.]+\s*\([^()]*\)(?:\s*->.*)?")
_MARKUP = (
    (re.compile(r":\w+(?::\w+)*:`~?([^`<]+?)(?:\s*<[^>]*>)?`"), r"`\1`"),
    (re.compile(r"\{@\w+\s+([^}]*)\}"), r"`\1`"),
    (re.compile(r"``([^`]+)``"), r"`\1`"),
    (re.compile(r"</?(?:p|code|b|i|em|strong|br)\s*/?>"), ""),
)


def doc_of(node: Node, language: Language) -> str:
    """The text of the documentation of a function or class, without its signs; or empty."""
    if language.doc_style is DocStyle.DOCSTRING:
        body = node.get("body")
        return docstring_in(body) if body is not None else ""
    outer = whole(node)
    return _comment_above(outer) or (_comment_above(node) if outer is not node else "")


def doc_of_file(root: Node, language: Language) -> str:
    """What the file says of itself: a module docstring, `//!`, or a comment at its top."""
    if language.doc_style is DocStyle.DOCSTRING:
        return docstring_in(root)
    lines: list[Node] = []
    for child in root.children:
        if "comment" not in child.type or (lines and child.line > lines[-1].last_line + 1):
            break
        lines.append(child)
    text = _plain("".join(f"{one.text.rstrip()}\n" for one in lines))
    is_about_the_file = language.doc_style is DocStyle.GO or any(
        one.text.startswith(("//!", "/*!", "/**", "/*\n", "/* ")) for one in lines
    )
    is_licence = re.search(r"copyright|licen[cs]e|SPDX", text, re.I)
    return "" if is_licence or not is_about_the_file else text


def docstring_in(body: Node) -> str:
    """Python's, at the head of a block or module."""
    first = next(iter(body.named_children), None)
    if first is None or first.type != "expression_statement":
        return ""
    string = next(iter(first.named_children), None)
    if string is None or string.type not in ("string", "concatenated_string"):
        return ""
    inside = re.sub(r"^[rRuUbB]*(\"\"\"|'''|\"|')|(\"\"\"|'''|\"|')$", "", string.text)
    head, newline, rest = inside.partition("\n")
    return (head.strip() + newline + textwrap.dedent(rest)).strip()


def summary(doc: str, *, n_sentences: int = 2, n_chars: int = MAX_CHARS) -> str:
    """The first sentences of the first paragraph, on one line; whole sentences where they fit."""
    section = _SECTION.search(doc)
    if section is not None and section.start() == 0:
        return ""
    text = doc[: section.start()] if section else doc
    first, *others = re.split(r"\n\s*\n", text.strip())
    # Of functions that C code has in Python, and of some others, the first is the signature.
    paragraph = others[0] if others and _SIGNATURE.fullmatch(first) else first
    folded = re.sub(r"\s+", " ", paragraph).strip()
    for pattern, replacement in _MARKUP:
        folded = pattern.sub(replacement, folded)
    ends = [match.end() for match in _SENTENCE_END.finditer(folded)][:n_sentences]
    fitting = [end for end in ends if end <= n_chars]
    if fitting:
        return folded[: fitting[-1]]
    return folded if len(folded) <= n_chars else folded[: n_chars - 1].rsplit(" ", 1)[0] + "…"


def _comment_above(node: Node) -> str:
    """The comments that end on the line before the node, or on attributes right above it."""
    parent = node.parent
    if parent is None:
        return ""
    run: list[Node] = []
    for sibling in parent.children:
        if sibling.start_byte >= node.start_byte:
            break
        if "comment" in sibling.type:
            joins = run and sibling.line <= run[-1].last_line + 1
            run = [*run, sibling] if joins else [sibling]
        elif sibling.type != "attribute_item":
            # A comment behind a statement, on its line, is not about what follows.
            run = []
    if not run or node.line > run[-1].last_line + 1 and parent.first("attribute_item") is None:
        return ""
    return _plain("\n".join(one.text.rstrip() for one in run))


def _plain(comments: str) -> str:
    without_signs = _COMMENT_SIGNS.sub("", comments.replace("*/", ""))
    return textwrap.dedent(_DIRECTIVE.sub("", without_signs)).strip()

"""The comment block that a source file begins with, in whatever language, as plain text.

Line based and without a lexer: a licence notice stands before the first line of code. Docstrings
count as comments. Lines such as ``#include`` are kept with the comments that they look like.
"""

import re

MAX_HEADER_CHARS = 16_000
"""As long as the whole Apache licence with its appendix, in comment marks."""
_BLOCKS: tuple[tuple[str, str], ...] = (
    ('"""', '"""'), ("'''", "'''"), ('r"""', '"""'), ('u"""', '"""'), ("/*", "*/"),
    ("<!--", "-->"), ("{-", "-}"), ("(*", "*)"), ("--[[", "]]"), ("{#", "#}"), ("<#", "#>"),
    ("=pod", "=cut"), ("=begin", "=end"), ("<%--", "--%>"), ("#|", "|#"), ("%{", "%}"),
)  # fmt: skip
_BLOCK_STARTS = tuple(start for start, _ in _BLOCKS)
_LINE = re.compile(
    r"#+!?|//+[/!]?|--+|;+|%+|!+|\"(?=\s|$)|'(?=\s|$)|rem\b|dnl\b|@c\b|@?::|\.\.(?=\s)|\\\"|c\s{2,}|\*",
    re.IGNORECASE,
)
_PROLOGUE = re.compile(
    r"<\?|<!doctype|<html|<head|[\"']use strict|@echo off|from __future__|package [\w.]+;?$"
    r"|__(?:author|copyright|credits|version|maintainer|email|status|date|licen[sc]e)__\s*=",
    re.IGNORECASE,
)
"""Lines that stand before or among the notices of a file."""
_INNER_MARK = re.compile(r"\A(?:\*+(?!/)|#+|//+|--+|;+|\|)[ \t]?")


def leading_comment(text: str) -> str:
    """Text of the comments before the first line of code, without their marks."""
    kept: list[str] = []
    end_mark = ""
    for line in text[:MAX_HEADER_CHARS].lstrip("\ufeff").splitlines():
        line = line.strip()
        if end_mark:
            before, mark, _ = line.partition(end_mark)
            kept.append(_INNER_MARK.sub("", before).rstrip("*-=#/ "))
            if mark:
                end_mark = ""
        elif not line:
            kept.append("")
        elif block := _block_start(line):
            start_mark, end_mark = block
            before, mark, _ = line[len(start_mark) :].partition(end_mark)
            kept.append(before.lstrip("*!-= ").rstrip("*-=#/ "))
            if mark:
                end_mark = ""
        elif match := _LINE.match(line):
            kept.append(line[match.end() :].strip().rstrip("*-=#/ "))
        elif not _PROLOGUE.match(line):
            break
    return "\n".join(kept)


def _block_start(line: str) -> tuple[str, str] | None:
    if not line.startswith(_BLOCK_STARTS):
        return None
    for block in _BLOCKS:
        if line.startswith(block[0]):
            return block
    return None

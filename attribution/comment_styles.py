"""How a comment is written in the languages that editors name (ids of the language protocol)."""

from collections.abc import Sequence
from typing import Final

_LINE_MARKS: Final = {
    "#": "coffeescript cmake crystal dockerfile dockercompose elixir gdscript git-commit "
    "git-rebase graphql hcl julia just ksh makefile mojo nim nix perl perl6 powershell properties "
    "puppet python r raku ruby shellscript starlark terraform tcl toml yaml zsh fish awk sage",
    "//": "apex c cpp csharp cuda cuda-cpp d dart fsharp glsl go groovy hlsl java javascript "
    "javascriptreact jsonc json5 kotlin less metal objective-c objective-cpp odin pascal php proto "
    "proto3 rust scala scss solidity stylus swift systemverilog typescript typescriptreact v "
    "verilog wgsl zig",
    "--": "ada agda elm haskell idris lua luau plsql purescript sql tsql vhdl applescript lean",
    ";": "asm clojure commonlisp emacs-lisp ini lisp nasm racket scheme asm-intel-x86-generic",
    "%": "bibtex erlang latex matlab octave prolog tex",
    "!": "fortran fortran-modern FortranFreeForm",
    "'": "vb visual-basic vba",
    "REM": "bat",
    '"': "vim viml",
}
_BLOCK_MARKS: Final = {
    ("<!--", "-->"): "html xml xsl svg markdown vue svelte astro handlebars mdx",
    ("/*", "*/"): "css",
    ("(*", "*)"): "ocaml sml coq wolfram mathematica",
    ("{#", "#}"): "jinja jinja-html django-html django-txt twig",
    ("<%#", "%>"): "erb",
}
_WITHOUT_COMMENTS: Final = frozenset({"json", "csv", "plaintext", "ipynb", "jsonl"})

_LINE_MARK_OF = {name: mark for mark, names in _LINE_MARKS.items() for name in names.split()}
_BLOCK_MARK_OF = {name: marks for marks, names in _BLOCK_MARKS.items() for name in names.split()}
_USUAL_MARK: Final = "#"
"""For a language that is not listed."""


def comment_out(lines: Sequence[str], language_id: str) -> str:
    """The lines as a comment with a newline at its end; empty where a language has none."""
    if language_id in _WITHOUT_COMMENTS:
        return ""
    if marks := _BLOCK_MARK_OF.get(language_id):
        first, last = marks
        # Text that holds the closing mark would end the comment early.
        inner = "\n".join(line.replace(last, last[0] + " " + last[1:]) for line in lines)
        return f"{first}\n{inner}\n{last}\n"
    mark = _LINE_MARK_OF.get(language_id, _USUAL_MARK)
    return "".join(f"{mark} {line}\n" for line in lines)

"""Guards which language a file is said to have.

A failure would mean that a recipe gets files of another language, or loses those it asks for.
"""

import time

import pytest
from pygments.lexers import get_all_lexers

from train.corpus import languages
from train.corpus.language_rules import LANGUAGES_OF_RULES, RULES_OF_EXTENSION
from train.corpus.languages import LANGUAGES, language_of


@pytest.mark.parametrize(
    ("path", "language"),
    [
        ("a/b.py", "Python"),
        ("a/b.PYI", "Python"),
        ("a/b.pyx", "Cython"),
        ("b.c", "C"),
        ("b.C", "C++"),
        ("b.cc", "C++"),
        ("b.rs", "Rust"),
        ("b.go", "Go"),
        ("B.java", "Java"),
        ("b.mjs", "JavaScript"),
        ("b.jsx", "JavaScript"),
        ("b.ts", "TypeScript"),
        ("b.tsx", "TypeScript"),
        ("b.lua", "Lua"),
        ("b.sh", "Shell"),
        (".bashrc", "Shell"),
        ("b.md", "Markdown"),
        ("b.rst", "reStructuredText"),
        ("b.toml", "TOML"),
        ("b.yml", "YAML"),
        ("b.json", "JSON"),
        ("b.html", "HTML"),
        ("b.svg", "SVG"),
        ("b.xml", "XML"),
        ("b.css", "CSS"),
        ("b.sql", "SQL"),
        ("b.txt", "Text"),
        ("README", "Text"),
        ("n.ipynb", "Jupyter Notebook"),
        ("Makefile", "Makefile"),
        ("a/Makefile.am", "Makefile"),
        ("CMakeLists.txt", "CMake"),
        ("b.cmake", "CMake"),
        ("Dockerfile", "Dockerfile"),
        ("Dockerfile.dev", "Dockerfile"),
        ("b.tex", "TeX"),
        ("b.R", "R"),
        ("b.r", "R"),
        ("bash_helpers.py", "Python"),
        ("WidgetSpec.hs", "Haskell"),
        ("page.html.j2", "HTML+Django/Jinja"),
        ("go.mod", "Go Module"),
        ("id_rsa", None),
        ("x.tar.gz", None),
        ("x.so.1", None),
        ("LICENSE", None),
        ("", None),
        (".", None),
        ("folder.py/", None),
        ("folder.py/data", None),
    ],
)
def test_the_name_decides(path: str, language: str | None) -> None:
    assert language_of(path, b"plain words\n") == language


@pytest.mark.parametrize(
    ("path", "head", "language"),
    [
        ("b.h", b"#ifndef B_H\nint f(void);\n", "C"),
        ("b.h", b'#ifdef __cplusplus\nextern "C" {\n#endif\nint f(void);\n', "C"),
        ("b.h", b"#include <vector>\nint f();\n", "C++"),
        ("b.h", b"#pragma once\nnamespace a {\n", "C++"),
        ("b.h", b"template <typename T>\nT f();\n", "C++"),
        ("b.h", b"#import <UIKit/UIKit.h>\n@interface A : NSObject\n", "Objective-C"),
        ("b.h", b"/* -*- mode: c++; tab-width: 2 -*- */\nint f();\n", "C++"),
        ("b.h", b"// -*- C++ -*-\nint f();\n", "C++"),
        ("b.h", b"int f();\n// vim: set ft=cpp sw=2:\n", "C++"),
        ("b.m", b"function y = f(x)\n% square\ny = x.^2;\nend\n", "MATLAB"),
        ("b.m", b"@implementation A\n- (void)f {}\n@end\n", "Objective-C"),
        ("b.m", b'(* a package *)\nBeginPackage["A`"]\n', "Mathematica"),
        ("b.m", b"## a comment\nfunction f()\nendfunction\n", "Octave"),
        ("b.mm", b'#import "a.h"\nstd::string a;\n', "Objective-C++"),
        ("b.mm", b'<map version="1.0">\n', "XML"),
        ("b.pl", b"use strict;\nmy $x = 1;\n", "Perl"),
        ("b.pl", b":- module(a, [b/1]).\nb(X) :- c(X).\n", "Prolog"),
        ("b.pl", b"use v6;\nsay 'hi';\n", "Raku"),
        ("b.pm", b"/* XPM */\nstatic char *a[] = {\n", None),
        ("b.t", b"use Test::More;\nok(1);\n", "Perl"),
        ("b.v", b"module a(input b);\nendmodule\n", "Verilog"),
        ("b.v", b"Require Import Arith.\nTheorem a : True.\n", "Rocq Prover"),
        ("b.v", b"module main\n\nfn main() {\n}\n", "V"),
        ("b.r", b'REBOL [Title: "a"]\n', "REBOL"),
        ("b.r", b"f <- function(x) x\n", "R"),
        ("b.ts", b'<?xml version="1.0"?>\n<!DOCTYPE TS>\n<TS>\n', "XML"),
        ("b.ts", b"export const a: number = 1;\n", "TypeScript"),
        (
            "b.sql",
            b"CREATE FUNCTION a() RETURNS int AS $$ BEGIN END $$ LANGUAGE plpgsql;",
            "PL/pgSQL",
        ),
        ("b.sql", b"SET NOCOUNT ON\nGO\n", "Transact-SQL"),
        ("b.sql", b"SELECT 1;\n", "SQL"),
        ("b.cls", b"\\NeedsTeXFormat{LaTeX2e}\n", "TeX"),
        ("b.cls", b"VERSION 1.0 CLASS\nBEGIN\n", "Visual Basic"),
        ("b.cls", b"public with sharing class A {\n}\n", "Apex"),
        ("b.cls", b"nobody knows\n", None),
        ("b.inc", b"<?php\necho 1;\n", "PHP"),
        ("b.inc", b"#declare A = 1;\n", "POVRay"),
        ("b.inc", b"%define A 1\nsection .text\n", "Assembly"),
        ("b.fs", b"module A\nlet x = 1\n", "F#"),
        ("b.fs", b": square dup * ;\n", "Forth"),
        ("b.fs", b"#version 330\nvoid main() {}\n", "GLSL"),
        ("b.cl", b"__kernel void a() {}\n", "OpenCL"),
        ("b.cl", b"(defun a () 1)\n", "Common Lisp"),
        ("b.g", b"grammar A;\na : B ;\n", "ANTLR"),
        ("b.g", b"InstallMethod( A, function( x ) end );\n", "GAP"),
        ("b.d", b"module a;\nimport std.stdio;\n", "D"),
        ("build/b.d", b"b.o: b.c b.h \\\n c.h\n", None),
        ("b.asm", b"mov eax, 1\n", "Assembly"),
        ("man.1", b".TH MAN 1\n.SH NAME\n", "Roff"),
        ("b.md", b'(define_insn "a"\n', None),
    ],
)
def test_content_tells_shared_extensions_apart(
    path: str, head: bytes, language: str | None
) -> None:
    assert language_of(path, head) == language


@pytest.mark.parametrize(
    ("path", "head", "language"),
    [
        ("bin/run", b"#!/bin/sh\necho\n", "Shell"),
        ("bin/run", b"#! /usr/bin/env python3.11 -u\n", "Python"),
        ("bin/run", b"#!/usr/bin/env -S A=1 python3\n", "Python"),
        ("bin/run", b"#!/usr/bin/python2\r\n", "Python"),
        ("bin/run", b"#!/usr/local/bin/node\n", "JavaScript"),
        ("bin/run", b"#!/usr/bin/perl -w\n", "Perl"),
        ("bin/run", b"#!/usr/bin/env Rscript\n", "R"),
        ("bin/run", b"#!/usr/bin/awk -f\n", "Awk"),
        ("run.cgi", b"#!/usr/bin/env ruby\n", "Ruby"),
        ("run", b"# -*- mode: python -*-\n", "Python"),
        ("run", b"# -*- coding: utf-8 -*-\n", None),
        ("run", b"# -*- coding: utf-8; mode: tcl -*-\n", "Tcl"),
        ("run", b'" vim: ft=vim\n', "Vim Script"),
        ("run", b"\n" * 9 + b"# vim: ft=python\n", None),
        ("run", b"<?php\n", "PHP"),
        ("run", b"#!\n", None),
        ("run", b"#!/opt/unknown\n", None),
        ("run.weird", b"<?php\n", None),
        ("run.py", b"#!/bin/sh\n", "Python"),
    ],
)
def test_interpreter_and_modeline_help_where_the_name_does_not(
    path: str, head: bytes, language: str | None
) -> None:
    assert language_of(path, head) == language


def test_every_shared_extension_has_rules() -> None:
    shared: dict[str, set[str]] = {}
    for lexer, _, patterns, _ in get_all_lexers(plugins=False):
        name = languages._our_name(lexer)
        for pattern in patterns:
            if name and pattern.startswith("*."):
                shared.setdefault(pattern[1:], set()).add(name)
    without = {e for e, names in shared.items() if len(names) > 1} - {
        e for e in shared if e.lower() in RULES_OF_EXTENSION
    }
    assert without == set()


def test_our_names_rename_what_pygments_has() -> None:
    lexers = {lexer for lexer, *_ in get_all_lexers(plugins=False)}
    assert set(languages.OUR_NAMES) <= lexers


def test_recipes_find_the_names_that_the_files_have() -> None:
    known = {
        *("Python", "Cython", "C", "C++", "Rust", "Go", "Java", "JavaScript", "TypeScript", "Lua"),
        *("Shell", "Markdown", "reStructuredText", "TOML", "YAML", "Jupyter Notebook", "JSON"),
        *("HTML", "XML", "CSS", "SQL", "Text", "Dockerfile", "Makefile", "CMake", "TeX"),
    }
    assert known | LANGUAGES_OF_RULES <= LANGUAGES
    assert len(LANGUAGES) > 500


@pytest.mark.parametrize("unit", [b"\n \t", b" ", b"a ", b"a\n", b"(", b"a(", b"; ", b"@a\n"])
def test_no_head_stalls_the_rules(unit: bytes) -> None:
    # Patterns that try each blank line anew, or nest repetitions, take minutes for these.
    started_s = time.process_time()
    for extension in RULES_OF_EXTENSION:
        language_of("a" + extension, (unit * 8_192)[:8_192])
    assert time.process_time() - started_s < 10

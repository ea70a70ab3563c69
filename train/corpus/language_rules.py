"""What tells languages apart that share an extension: patterns in the first bytes of a file.

The rules of an extension are tried in order; the first whose pattern occurs decides, and the last
language is what most such files are. None as a language means that nobody should guess. It knows
only bytes: names of files are the matter of `languages`.
"""

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rules:
    """Patterns in order, and what a file is when none occurs."""

    rules: tuple[tuple[str | None, re.Pattern[bytes]], ...]
    otherwise: str | None

    def first_match(self, head: bytes) -> str | None:
        """Language of the first rule whose pattern occurs in `head`."""
        for language, pattern in self.rules:
            if pattern.search(head):
                return language
        return self.otherwise


def _rules(otherwise: str | None, *rules: tuple[str | None, bytes]) -> Rules:
    return Rules(tuple((name, re.compile(p, re.MULTILINE)) for name, p in rules), otherwise)


_OBJECTIVE_C = (
    rb"^[ \t]*(?:@(?:interface|protocol|property|implementation|class|import|end)\b|#import\b)"
)
_CPP = (
    rb"^[ \t]*(?:template[ \t]*<|namespace\b|using[ \t]+\w|(?:public|private|protected)[ \t]*:"
    rb"|class[ \t]+\w+[^;=()\n]*(?:\{|$)"
    rb"|#[ \t]*include[ \t]*<(?:[a-z_]+|[\w./]+\.(?:hpp|hh|hxx))>)|\bstd::|\bconstexpr\b"
)
_PROLOG = rb"^:-|^[a-z]\w*(?:\([^()\n]*\))?[ \t]*:-|^[a-z]\w*\([^()\n]*\)\.[ \t]*$"
_RAKU = (
    rb"^[ \t]*use[ \t]+v6\b|^[ \t]*(?:my[ \t]+)?(?:grammar|role|multi[ \t]+sub)[ \t]"
    rb"|^[ \t]*class[ \t]+[\w:]+.*\{"
)
_PERL = (
    rb"^[ \t]*(?:use(?![ \t]+v6)|require|no)[ \t]+[\w:]+|^[ \t]*package[ \t]+[\w:]+[ \t]*;"
    rb"|^[ \t]*(?:my|our|local)[ \t]*[$@%(]|^[ \t]*sub[ \t]+\w"
)
_XML = rb"\A(?:\xef\xbb\xbf)?\s*<(?:\?xml|!DOCTYPE)\b"
_GAP = (
    rb"\b(?:Declare|Install)(?:Operation|Method|Attribute|Property|Global\w+|Category)\b"
    rb"|:=[ \t]*function\b"
)
_ASSEMBLY = (
    rb"^[ \t]*(?:\.(?:text|data|globl|global|section|macro|equ|byte|org)\b"
    rb"|%(?:define|macro|include)\b|(?i:section|global|extern|bits|mov|push|equ)[ \t])"
)
_ROFF = rb"\A(?:['.]\\\"|'\\\")|^\.(?:TH|Dd|Dt|SH|Sh|so|de)\b"
_VISUAL_BASIC = (
    rb"^(?:VERSION \d|Attribute VB_)|(?i:^[ \t]*option[ \t]+explicit"
    rb"|^[ \t]*(?:(?:public|private)[ \t]+)?(?:sub|function|module|class)[ \t]+\w)"
)

_ROFF_PAGE = _rules(None, ("Roff", _ROFF))

RULES_OF_EXTENSION: dict[str, Rules] = {
    **{f".{section}": _ROFF_PAGE for section in range(1, 10)},
    ".asm": _rules("Assembly"),
    ".b": _rules(
        None, ("Limbo", rb"^[ \t]*implement\s+\w+;"), ("Brainfuck", rb"\A[\n\[\]<>+\-.,]{16,}")
    ),
    ".bas": _rules("BASIC", ("Visual Basic", _VISUAL_BASIC)),
    ".bug": _rules("BUGS"),
    ".cl": _rules(
        "Common Lisp",
        ("OpenCL", rb"\b(?:__kernel|__global|kernel\s+void)\b|^[ \t]*(?://|/\*|#)"),
        ("Visual Prolog", rb"^[ \t]*(?:class|interface)\s+\w+(?:\s*:\s*\w+)?\s*$"),
    ),
    ".cls": _rules(
        None,
        (
            "TeX",
            rb"\\(?:NeedsTeXFormat|ProvidesClass|documentclass|LoadClass|RequirePackage)\b|\A%",
        ),
        ("Visual Basic", rb"^(?:VERSION \d|Attribute VB_)"),
        ("OpenEdge ABL", rb"(?i:^[ \t]*(?:class\s+[\w.]+[^{\n]*:|using\s+[\w.*]+\.)\s*$)"),
        (
            "Apex",
            rb"(?i:^[ \t]*(?:public|private|global)[ \t]+[\w ]*\b(?:class|interface|enum)\b)",
        ),
    ),
    ".cp": _rules("C++", ("Component Pascal", rb"^[ \t]*MODULE\s+\w+\s*;")),
    ".d": _rules(
        "D",
        (None, rb"^[^\s:#]+\.(?:o|lo|obj|d|rlib|rmeta)[ \t]*:"),
        ("D", rb"^[ \t]*(?:module|import)\s+[\w.]+"),
        ("DTrace", rb"^(?:\w*:){3}\w*|^#pragma\s+D\b"),
    ),
    ".def": _rules(
        None,
        ("Modula-2", rb"^[ \t]*(?:DEFINITION|IMPLEMENTATION)?\s*MODULE\s+\w+"),
        (
            "C",
            rb"^[ \t]*#\s*(?:define|if|ifdef|ifndef|undef|include)\b|^[ \t]*/[*/]|^[A-Z]\w*\(",
        ),
        ("Singularity", rb"^Bootstrap:"),
    ),
    ".ecl": _rules("ECL", ("Prolog", _PROLOG)),
    ".fs": _rules(
        "F#",
        ("GLSL", rb"^[ \t]*#\s*version\b|^[ \t]*(?:uniform|varying|precision)\s|\bgl_Frag"),
        ("Forth", rb"^: \S|^\\ "),
    ),
    ".g": _rules("ANTLR", ("GAP", _GAP)),
    ".gd": _rules("GDScript", ("GAP", _GAP)),
    ".h": _rules("C", ("Objective-C", _OBJECTIVE_C), ("C++", _CPP)),
    ".hh": _rules(
        "C++",
        ("Objective-C++", _OBJECTIVE_C),
        ("Hack", rb"\A<\?hh\b"),
    ),
    ".i": _rules(
        None,
        ("SWIG", rb"^[ \t]*%(?:module|include|import|template|typemap|inline|define|\{)"),
        ("Visual Prolog", rb"^[ \t]*(?:interface|open)\s+\w+"),
        ("Assembly", _ASSEMBLY),
    ),
    ".inc": _rules(
        None,
        ("PHP", rb"<\?(?:php|=)"),
        ("POVRay", rb"^[ \t]*#(?:declare|local|macro|version)\s"),
        ("HTML", rb"(?i:\A\s*<(?:!doctype|html|div|table|p|ul)\b)"),
        (
            "SourcePawn",
            rb"^#pragma\s+(?:newdecls|semicolon)\b|^[ \t]*(?:methodmap|public\s+Plugin)\b",
        ),
        ("Pawn", rb"^[ \t]*(?:native|stock|forward)\s+\w"),
        ("Assembly", _ASSEMBLY),
        ("Pascal", rb"^[ \t]*\{\$|(?i:^[ \t]*(?:procedure|implementation|unit)\b)"),
        (
            "BitBake",
            rb"^(?:SUMMARY|DESCRIPTION|LICENSE|SRC_URI|DEPENDS|inherit)\b\s*(?:[?+:]?=|\w)",
        ),
        ("C++", _CPP),
        (
            "C",
            rb"^[ \t]*#\s*(?:define|ifdef|ifndef|include)\b|^[ \t]*(?:static|struct|void|int)\s",
        ),
    ),
    ".inf": _rules(
        "INI", ("Inform 6", rb"^[ \t]*(?i:object|constant|include|verb|story)\b[^=\n]*;")
    ),
    ".j": _rules(
        None,
        ("Jasmin", rb"^\.(?:class|method|source|super)\b"),
        ("Objective-J", rb"^@(?:import|implementation|end)\b"),
    ),
    ".lean": _rules("Lean"),
    ".m": _rules(
        "MATLAB",
        ("Objective-C", _OBJECTIVE_C + rb"|\[\[?\w+ alloc\]|^#include\s*<"),
        ("Mathematica", rb"^[ \t]*\(\*|\b(?:BeginPackage|Begin|Needs|Module)\[|:=\s*\w+\["),
        ("Mercury", rb"^:-\s*module\b"),
        ("Mason", rb"^[ \t]*<%|\A\s*<(?:%|&)"),
        (
            "Octave",
            rb"^[ \t]*(?:##|#\s|end(?:function|if|for|while)\b|unwind_protect\b)|\bprintf\s*\(",
        ),
    ),
    ".mac": _rules("Maxima", ("Easytrieve", rb"^[ \t]*(?:MACRO|\*\s)"), ("Assembly", _ASSEMBLY)),
    ".md": _rules("Markdown", (None, rb"^\((?:define_\w+|include)\s")),
    ".mi": _rules(None, ("Mason", rb"^[ \t]*<%|<&"), ("Maple", rb":=\s*proc\s*\(")),
    ".mm": _rules(
        "Objective-C++", ("XML", _XML + rb"|\A<map\b"), ("Maple", rb":=\s*(?:proc|module)\s*\(")
    ),
    ".mod": _rules(
        "Modula-2",
        ("XML", _XML),
        ("Go Module", rb"^module\s+[^\s;]+\s*$"),
        ("Ampl", rb"^[ \t]*(?:param|set|var|minimize|maximize|subject to)\s[^;]*;"),
    ),
    ".n": _rules(None, ("Nemerle", rb"^[ \t]*(?:using|namespace|module|class|def|mutable)\b")),
    ".p": _rules(
        None,
        ("Pawn", rb"^[ \t]*(?:native|stock|forward|#include\s*<)"),
        ("Gnuplot", rb"^[ \t]*(?:set\s+(?:term|output|xlabel|ylabel|title)|plot\s)"),
        ("Prolog", _PROLOG),
        ("OpenEdge ABL", rb"(?i:^[ \t]*(?:define|procedure|find|for each|message|run)\b[^;{]*$)"),
    ),
    ".pl": _rules("Perl", ("Prolog", _PROLOG), ("Raku", _RAKU), ("Perl", _PERL)),
    ".pm": _rules(
        "Perl",
        (None, rb"\A/\* XPM \*/"),
        ("Perl", _PERL),
        ("Raku", _RAKU),
        ("Promela", rb"^[ \t]*(?:active\s+)?(?:proctype|init|mtype)\b"),
    ),
    ".pro": _rules(
        None,
        ("QMake", rb"^[ \t]*(?:QT|TARGET|SOURCES|HEADERS|TEMPLATE|CONFIG|SUBDIRS)\s*[-+*]?="),
        ("Prolog", _PROLOG),
        ("IDL", rb"(?i:^[ \t]*(?:pro|function)\s+\w+\s*(?:,|$)|^[ \t]*end\s*$)"),
    ),
    ".prolog": _rules("Prolog"),
    ".r": _rules("R", ("REBOL", rb"(?i:^[ \t]*rebol[ \t]*\[)")),
    ".s": _rules("Assembly", ("R", rb"<-\s*function\s*\(|^[ \t]*library\(")),
    ".sc": _rules(
        "SuperCollider",
        ("SuperCollider", rb"\bSynthDef\b|^[ \t]*\+?\s*\w+\s*:\s*\w+\s*\{|\|[\w, ]+\||\barg\s+\w+"),
        (
            "Scala",
            rb"^[ \t]*(?:import|package)\s+[\w.]+|^[ \t]*(?:object|class|trait|val|def)\s+\w+",
        ),
    ),
    ".scd": _rules("SuperCollider", ("scdoc", rb"\A\s*\w[\w.-]*\(\w+\)")),
    ".sql": _rules(
        "SQL",
        ("PL/pgSQL", rb"(?i:\blanguage\s+'?plpgsql\b|\bas\s+\$\w*\$|\bdo\s+\$\w*\$)"),
        (
            "PL/SQL",
            rb"(?i:\bvarchar2\b|\bdbms_\w+|^[ \t]*create\s+or\s+replace\s+package\b|^/\s*$)",
        ),
        (
            "Transact-SQL",
            rb"(?i:^[ \t]*go\s*$|\bset\s+nocount\s+on\b|\bnvarchar\b|\[dbo\]|^[ \t]*declare\s+@)",
        ),
    ),
    ".st": _rules("Smalltalk", ("StringTemplate", rb"\$\w+[:;.(]|^group\s+\w+;")),
    ".t": _rules(
        "Perl",
        ("Perl", _PERL),
        ("Raku", _RAKU),
        ("TADS 3", rb"^#charset\b|^#include\s+<(?:adv3|tads)"),
        ("Terra", rb"^[ \t]*(?:terra|local)\s+\w+"),
    ),
    ".toc": _rules(
        None,
        ("TeX", rb"\\(?:contentsline|babel@toc|select@language)"),
        ("World of Warcraft TOC", rb"^## "),
    ),
    ".ts": _rules("TypeScript", ("XML", _XML + rb"|\A\s*<TS\b"), (None, rb"\A\x47[\s\S]{187}\x47")),
    ".tst": _rules(None, ("Scilab", rb"^[ \t]*//.*|^[ \t]*function\s|<--")),
    ".tsx": _rules("TypeScript", ("XML", _XML + rb"|\A\s*<tileset\b")),
    ".ttl": _rules("Turtle", ("Tera Term macro", rb"^[ \t]*(?:sendln|wait|connect|timeout)\b")),
    ".u": _rules(None, ("ucode", rb"\{%|^'use strict'")),
    ".v": _rules(
        "Verilog",
        (
            "Rocq Prover",
            rb"^[ \t]*(?:(?:From\s+\S+\s+)?Require\b|Qed\.|Proof\b"
            rb"|(?:Import|Export|Theorem|Lemma|Definition|Inductive)\s)",
        ),
        (
            "Verilog",
            rb"^[ \t]*(?:endmodule|`(?:timescale|include|define|ifdef|ifndef)|always|assign)\b"
            rb"|^[ \t]*module\s+\w+\s*[#(;]",
        ),
        ("V", rb"^[ \t]*(?:pub\s+)?fn\s+\w+|^module\s+\w+\s*$|^import\s+\w+\s*$"),
    ),
    ".xsl": _rules("XSLT"),
    ".xslt": _rules("XSLT"),
}
"""Every extension that pygments gives to several languages of ours (a test compares), and some
whose files are often of a language or a format that pygments does not know."""

UNNAMED_RULES = _rules(
    None,
    ("PHP", rb"\A<\?php\b"),
    ("XML", rb"\A(?:\xef\xbb\xbf)?<\?xml\b"),
    ("HTML", rb"(?i:\A\s*<(?:!doctype html|html)\b)"),
)
"""For files without an extension: only signs that nothing else begins with."""

LANGUAGES_OF_RULES: frozenset[str] = frozenset(
    name
    for rules in (*RULES_OF_EXTENSION.values(), UNNAMED_RULES)
    for name in (rules.otherwise, *(name for name, _ in rules.rules))
    if name
)

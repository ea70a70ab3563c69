"""Guards the text rules in eleven languages: a rule that is right for Python may double a Lua `end`,
cut a C++ brace, or turn the tabs of a Go file into spaces.

Each case is a buffer with `|` for the cursor, what the model wrote, and the buffer after accepting
(None: nothing is shown).
"""
# ruff: noqa: E501

import pytest

from runtime.trim import fit

Case = tuple[str, str, str | None]

PYTHON: dict[str, Case] = {
    "end of an expression": ("total = |\n", "sum(values)\n", "total = sum(values)\n"),
    "floor division is no comment": ("n = (a // |)", "b)", "n = (a // b)"),
    "dict display closed by the editor": ("d = {|}", "'a': 1}", "d = {'a': 1}"),
    "default argument": ("def f(a=|):", "None):", "def f(a=None):"),
    "next line comes again": ("a = |\nb = load(path)\n", "100\nb = load(path)", "a = 100\nb = load(path)\n"),
    "next two lines come again": (
        "a = |\nb = load(path)\nreturn b\n", "one()\nb = load(path)\nreturn b", "a = one()\nb = load(path)\nreturn b\n",
    ),
    "only the next lines": ("|\nb = load(path)\nreturn b\n", "b = load(path)\nreturn b", None),
    "body after def": ("def f():\n|", "    return value", "def f():\n    return value"),
    "indentation is there": ("def f():\n    |", "    return value", "def f():\n    return value"),
    "indentation is half there": ("def f():\n  |", "  return value", "def f():\n  return value"),
    "tabs in a file of spaces": ("def f():\n    a()\n    |", "if b:\n\t\tc()", "def f():\n    a()\n    if b:\n        c()"),
    "blank before the value": ("x = |", " compute()", "x = compute()"),
    "blank inside a string stays": ("x = 'a |'", " bcd", "x = 'a  bcd'"),
    "docstring goes on": ('def f():\n    """Add |', "two numbers.\n\n    Slowly.\n    \"\"\"", 'def f():\n    """Add two numbers.\n\n    Slowly.\n    """'),
    "comment takes one line": ("# The |\n", "first number.\nx = 1\n", "# The first number.\n"),
    "code below a comment": ("# The first number.|", "\nx = first()\ny = 2", "# The first number.\nx = first()"),
    "string takes one line": ("name = 'a|", "bc'\nother = 2", "name = 'abc'"),
    "comment without words": ("x = 1\n|", "#", None),
    "decorator": ("@|\ndef f(): ...\n", "property\ndef f(): ...", "@property\ndef f(): ...\n"),
    "the line above": ("    import os.path\n    |", "import os.path", None),
    "closing line of a call": ("f(\n    a,\n    |\n)\n", "b,\n)", "f(\n    a,\n    b,\n)\n"),
    "own closing line": ("x = [\n    |\n]\n", "f(\n        a,\n    ),\n]", "x = [\n    f(\n        a,\n    ),\n]\n"),
    "three equal lines": ("|", "x.append(1)\nx.append(1)\nx.append(1)\n", "x.append(1)"),
    "three equal pairs of lines": ("|", "a()\nb()\na()\nb()\na()\nb()\nc()", "a()\nb()"),
    "blanks at line ends": ("|", "if a:   \n    b()  \n", "if a:\n    b()"),
    "a fence of a chat": ("x = |", "compute()\n```\nThis computes", "x = compute()"),
    "a fence in a docstring": ('"""Usage:\n|', "```\nf()\n```\n", '"""Usage:\n```\nf()\n```'),
    "sentinel": ("x = |", "compute()<fim_suffix>z", "x = compute()"),
    "f-string braces": ('s = f"{|}"', 'name}"', 's = f"{name}"'),
    "colon that is there": ("while |:", "not done:", "while not done:"),
}  # fmt: skip

JAVASCRIPT: dict[str, Case] = {
    "callback": ("items.map(|)", "(x) => x.id)", "items.map((x) => x.id)"),
    "call and semicolon": ("foo(|);", "bar, baz);", "foo(bar, baz);"),
    "closing brace of the function": ("function f() {\n  |\n}\n", "return 1;\n}", "function f() {\n  return 1;\n}\n"),
    "own closing brace": ("function f() {\n  |\n}\n", "if (a) {\n    b();\n  }", "function f() {\n  if (a) {\n    b();\n  }\n}\n"),
    "own and the other brace": ("function f() {\n  |\n}\n", "if (a) {\n    b();\n  }\n}", "function f() {\n  if (a) {\n    b();\n  }\n}\n"),
    "object literal": ("const a = {|};", " b: 1 };", "const a = { b: 1 };"),
    "comment line": ("// the |\nlet a;\n", "answer\nlet b;", "// the answer\nlet a;\n"),
    "block comment": ("/** Gives |\n */\n", "the answer.\n * @returns it", "/** Gives the answer.\n */\n"),
    "comment without words": ("let a = 1;\n|", "//", None),
    "template string": ("const s = `a ${|}`;", "name}", "const s = `a ${name}`;"),
    "two spaces stay": ("if (a) {\n  b();\n  |\n}", "if (c) {\n    d();\n  }", "if (a) {\n  b();\n  if (c) {\n    d();\n  }\n}"),
    "tabs in a file of two spaces": ("if (a) {\n  |\n  b();\n}", "if (c) {\n\t\td();\n\t}", "if (a) {\n  if (c) {\n    d();\n  }\n  b();\n}"),
    "promise tail": ("load().then(|);", "(x) => {", "load().then((x) => {);"),
    "next line again": ("const a = |\nconst b = require('b');\n", "require('a');\nconst b = require('b');", "const a = require('a');\nconst b = require('b');\n"),
    "arrow body end below": ("const f = () => {\n  |\n};\n", "return 1;\n};", "const f = () => {\n  return 1;\n};\n"),
    "too many closers": ("foo(a|", "));", "foo(a)"),
    "string in a call": ("require('|')", "fs')", "require('fs')"),
    "hash is no comment": ("this.#x = (|", "1)", "this.#x = (1)"),
    "sentinel of DeepSeek": ("let a = |", "load();<｜fim▁end｜>", "let a = load();"),
    "the same line above": ("export { a } from './a';\n|", "export { a } from './a';", None),
}  # fmt: skip

TYPESCRIPT: dict[str, Case] = {
    "type of a parameter": ("function f(a: |) {", "string) {", "function f(a: string) {"),
    "return type": ("function f(a: string)|", ": number {", "function f(a: string): number {"),
    "generic": ("const m = new Map<|>();", "string, number>()", "const m = new Map<string, number>();"),
    "member of an interface": ("interface A {\n  a: string;\n  |\n}\n", "b: number;\n}", "interface A {\n  a: string;\n  b: number;\n}\n"),
    "own method body": ("class A {\n  |\n}\n", "m(): void {\n    this.x = 1;\n  }\n}", "class A {\n  m(): void {\n    this.x = 1;\n  }\n}\n"),
    "import that is there": ("|\nimport { b } from './b';\n", "import { b } from './b';", None),
    "optional chaining": ("const a = b?.|", "c ?? d;", "const a = b?.c ?? d;"),
    "decorator of a class": ("@|\nexport class A {}\n", "Injectable()\nexport class A {}", "@Injectable()\nexport class A {}\n"),
    "enum": ("enum E {\n  A,\n  |\n}", "B,\n  C,\n}", "enum E {\n  A,\n  B,\n  C,\n}"),
    "own generic inside": ("const m: A<|>;", "Map<B, C>", "const m: A<Map<B, C>>;"),
    "arrow is no bracket": ("f<|>(x)", "() => void", "f<() => void>(x)"),
    "JSX is closed below": ("return (\n  <div>\n    |\n  </div>\n);\n", "<b>{name}</b>\n  </div>\n);", "return (\n  <div>\n    <b>{name}</b>\n  </div>\n);\n"),
    "doc comment line": ("/**\n * Adds |\n */\n", "two numbers.\n */\nfunction add", "/**\n * Adds two numbers.\n */\n"),
    "leading blank": ("let x: number = |", " load();", "let x: number = load();"),
}  # fmt: skip

GO: dict[str, Case] = {
    "error check": ("func f() error {\n\tx, err := g()\n\t|\n}\n", "if err != nil {\n\t\treturn err\n\t}", "func f() error {\n\tx, err := g()\n\tif err != nil {\n\t\treturn err\n\t}\n}\n"),
    "spaces in a file of tabs": ("func f() error {\n\tx, err := g()\n\t|\n}\n", "if err != nil {\n        return err\n    }", "func f() error {\n\tx, err := g()\n\tif err != nil {\n\t\treturn err\n\t}\n}\n"),
    "four spaces at the left margin": ("func f() {\n\ta()\n|\n}\n", "    b()", "func f() {\n\ta()\n\tb()\n}\n"),
    "tab is there": ("func f() {\n\t|\n}\n", "\treturn", "func f() {\n\treturn\n}\n"),
    "brace below": ("func f() {\n\t|\n}\n", "return\n}", "func f() {\n\treturn\n}\n"),
    "raw string": ("const s = `|`", "abc\n", "const s = `abc`"),
    "import block": ('import (\n\t"fmt"\n\t|\n)\n', '"os"\n)', 'import (\n\t"fmt"\n\t"os"\n)\n'),
    "comment": ("// F does |\nfunc F() {}\n", "nothing.\nfunc F() {}", "// F does nothing.\nfunc F() {}\n"),
    "call": ("fmt.Println(|)", '"a", b)', 'fmt.Println("a", b)'),
    "func literal": ("go func() {|}()", "\n\t\twork()", None),
    "struct field again": ("type T struct {\n\t|\n\tName string\n}\n", "ID int\n\tName string", "type T struct {\n\tID int\n\tName string\n}\n"),
    "line above": ("\tdefer mu.Unlock()\n\t|", "defer mu.Unlock()", None),
}  # fmt: skip

RUST: dict[str, Case] = {
    "lifetime is no string": ("fn f<'a>(x: &'a str) -> (|", "&'a str)", "fn f<'a>(x: &'a str) -> (&'a str)"),
    "character": ("let c = (|", "'(')", "let c = ('(')"),
    "match arm": ("match x {\n    |\n}\n", "Some(y) => {\n        y\n    }\n}", "match x {\n    Some(y) => {\n        y\n    }\n}\n"),
    "macro": ("println!(|);", '"{}", x);', 'println!("{}", x);'),
    "vector": ("let v = vec![|];", "1, 2, 3];", "let v = vec![1, 2, 3];"),
    "trait method": ("impl T for S {\n    |\n}\n", "fn f(&self) -> u8 {\n        1\n    }", "impl T for S {\n    fn f(&self) -> u8 {\n        1\n    }\n}\n"),
    "brace below": ("fn main() {\n    |\n}\n", "run();\n}", "fn main() {\n    run();\n}\n"),
    "doc comment": ("/// Adds |\nfn add() {}\n", "numbers.\nfn add() {}", "/// Adds numbers.\nfn add() {}\n"),
    "attribute": ("#[|]\nstruct A;\n", "derive(Debug)]", "#[derive(Debug)]\nstruct A;\n"),
    "question mark": ("let a = f(|)?;", "x)", "let a = f(x)?;"),
    "wrong closer": ("let a = f(|", "xyz];", "let a = f(xyz"),
    "where clause": ("fn f<T>(t: T) where T: |", "Debug {", "fn f<T>(t: T) where T: Debug {"),
}  # fmt: skip

C: dict[str, Case] = {
    "preprocessor is no comment": ("#define F(x) (|", "x + 1)", "#define F(x) (x + 1)"),
    "include": ("#include <|>\n", "stdio.h>", "#include <stdio.h>\n"),
    "string": ('printf("|");', '%d\\n", n);', 'printf("%d\\n", n);'),
    "brace on its own line": ("int main(void)\n{\n    |\n}\n", "return 0;\n}", "int main(void)\n{\n    return 0;\n}\n"),
    "loop": ("for (i = 0; |) {", "i < n; i++) {", "for (i = 0; i < n; i++) {"),
    "own braces": ("int f(void)\n{\n\t|\n}\n", "if (a) {\n\t\tb();\n\t}\n}", "int f(void)\n{\n\tif (a) {\n\t\tb();\n\t}\n}\n"),
    "spaces in a file of tabs": ("int f(void)\n{\n\ta();\n\t|\n}\n", "while (b)\n        c();", "int f(void)\n{\n\ta();\n\twhile (b)\n\t\tc();\n}\n"),
    "block comment in a line": ("/* sum |*/", "of all\nx", "/* sum of all*/"),
    "character": ("if (c == |)", "')')", "if (c == ')')"),
    "array": ("int a[] = {|};", "1, 2};", "int a[] = {1, 2};"),
    "case of a switch": ("switch (a) {\n|", "case 1:\n    b();\n    break;", "switch (a) {\ncase 1:\n    b();\n    break;"),
    "line comment": ("x = 1; // |", "one\ny = 2;", "x = 1; // one"),
}  # fmt: skip

CPP: dict[str, Case] = {
    "lambda": ("std::sort(a.begin(), a.end(), |);", "[](int x, int y) { return x < y; });", "std::sort(a.begin(), a.end(), [](int x, int y) { return x < y; });"),
    "class end": ("class A {\n public:\n  |\n};\n", "A();\n};", "class A {\n public:\n  A();\n};\n"),
    "own method": ("class A {\n  |\n};\n", "int f() {\n    return 1;\n  }\n};", "class A {\n  int f() {\n    return 1;\n  }\n};\n"),
    "stream": ("std::cout << |", "x << std::endl;", "std::cout << x << std::endl;"),
    "initialiser list": ("A::A() : x_(|) {}", "0)", "A::A() : x_(0) {}"),
    "digit separator": ("int n = (1'000 + |", "2'000)", "int n = (1'000 + 2'000)"),
    "namespace end comment": ("namespace a {\n|\n}  // namespace a\n", "int x;\n}  // namespace a", "namespace a {\nint x;\n}  // namespace a\n"),
    "template": ("template <typename T>\n|", "T f(T a) { return a; }", "template <typename T>\nT f(T a) { return a; }"),
    "include again": ('#include "a.h"\n|\n#include "b.h"\n', '#include "b.h"', None),
    "three pushes": ("|", "v.push_back(1);\nv.push_back(1);\nv.push_back(1);", "v.push_back(1);"),
}  # fmt: skip

JAVA: dict[str, Case] = {
    "getter": ("class A {\n    |\n}\n", "int getX() {\n        return x;\n    }\n}", "class A {\n    int getX() {\n        return x;\n    }\n}\n"),
    "println": ("System.out.println(|);", '"a" + b);', 'System.out.println("a" + b);'),
    "annotation": ("    @|\n    public String toString() {\n", "Override\n    public String toString() {", "    @Override\n    public String toString() {\n"),
    "generic type": ("List<String> a = |", "new ArrayList<>();", "List<String> a = new ArrayList<>();"),
    "javadoc": ("/**\n * Returns |\n */\n", "the name.\n */", "/**\n * Returns the name.\n */\n"),
    "text block": ('String s = """\n    |', 'a\n    b\n    """;', 'String s = """\n    a\n    b\n    """;'),
    "try": ("try {\n    a();\n} |", "catch (E e) {\n    b();\n}", "try {\n    a();\n} catch (E e) {\n    b();\n}"),
    "closing lines": ("class A {\n    void f() {\n        |\n    }\n}\n", "g();\n    }\n}", "class A {\n    void f() {\n        g();\n    }\n}\n"),
    "import that is there": ("import a.B;\n|\nimport a.D;\n", "import a.C;\nimport a.D;", "import a.B;\nimport a.C;\nimport a.D;\n"),
    "closer of nothing": ("int x = |", "compute();\n}", "int x = compute();"),
}  # fmt: skip

LUA: dict[str, Case] = {
    "function end": ("function f()\n  |\nend\n", "return 1\nend", "function f()\n  return 1\nend\n"),
    "own end": ("function f()\n  |\nend\n", "if a then\n    b()\n  end", "function f()\n  if a then\n    b()\n  end\nend\n"),
    "own end and the other": ("function f()\n  |\nend\n", "if a then\n    b()\n  end\nend", "function f()\n  if a then\n    b()\n  end\nend\n"),
    "comment": ("-- the |\nlocal a\n", "answer\nlocal b", "-- the answer\nlocal a\n"),
    "comment without words": ("local a = 1\n|", "--", None),
    "long comment": ("--[[ all of |", "this\nand more ]]", "--[[ all of this"),
    "table": ("local t = {|}", "a = 1}", "local t = {a = 1}"),
    "callback": ("each(list, |)", "function(x) return x end)", "each(list, function(x) return x end)"),
    "for": ("for i, v in |", "ipairs(t) do", "for i, v in ipairs(t) do"),
    "then opens a block": ("if a then\n|", "  b()", "if a then\n  b()"),
    "end with a bracket": ("each(t, function(x)\n  |\nend)\n", "print(x)\nend)", "each(t, function(x)\n  print(x)\nend)\n"),
    "hash is a length": ("local n = (#t + |", "1)", "local n = (#t + 1)"),
}  # fmt: skip

MARKDOWN: dict[str, Case] = {
    "smiley": ("That is nice|", " :)", "That is nice :)"),
    "numbered list": ("1) One\n|", "2) Two", "1) One\n2) Two"),
    "link": ("[Starling](|)", "https://example.org)", "[Starling](https://example.org)"),
    "fence": ("Run this:\n\n|", "```sh\nmake test\n```", "Run this:\n\n```sh\nmake test\n```"),
    "line break stays": ("|", "one  \ntwo  \n", "one  \ntwo"),
    "apostrophe": ("It doesn't |", "work (yet)", "It doesn't work (yet)"),
    "heading again": ("|\n## Usage\n", "## Usage", None),
    "heading is no empty comment": ("## |", "Usage", "## Usage"),
    "item again": ("- run the first test\n|", "- run the first test", None),
    "three equal items": ("|", "- a\n- a\n- a", "- a"),
}  # fmt: skip

YAML: dict[str, Case] = {
    "value": ("name: |\n", "build\non: push", "name: build\non: push\n"),
    "list": ("steps:\n  - a\n  |", "- b", "steps:\n  - a\n  - b"),
    "key below": ("jobs:\n  test:\n    |\n    steps:\n", "runs-on: ubuntu\n    steps:", "jobs:\n  test:\n    runs-on: ubuntu\n    steps:\n"),
    "comment": ("# The |\na: 1\n", "first\na: 1", "# The first\na: 1\n"),
    "comment without words": ("a: 1\n|", "#", None),
    "flow list": ("on: [|]", "push, pull_request]", "on: [push, pull_request]"),
    "quoted": ('a: "|"', 'b"', 'a: "b"'),
    "nested": ("a:\n|", "  b: 1", "a:\n  b: 1"),
    "tabs are no indentation": ("a:\n  b: 1\n  |", "c:\n\t\td: 1", "a:\n  b: 1\n  c:\n    d: 1"),
    "expression": ("if: ${{ | }}", "github.ref }}", "if: ${{ github.ref }}"),
}  # fmt: skip

TABLES = {
    "a.py": PYTHON, "a.js": JAVASCRIPT, "a.ts": TYPESCRIPT, "a.go": GO, "a.rs": RUST, "a.c": C,
    "a.cpp": CPP, "A.java": JAVA, "a.lua": LUA, "a.md": MARKDOWN, "a.yaml": YAML,
}  # fmt: skip
CASES = [(path, name) for path, table in TABLES.items() for name in table]


@pytest.mark.parametrize(("path", "name"), CASES)
def test_fit(path: str, name: str) -> None:
    before, suggestion, after = TABLES[path][name]
    prefix, _, suffix = before.partition("|")
    fitted = fit(suggestion, prefix, suffix, path=path)
    shown = None if fitted is None else prefix + fitted.text + suffix[fitted.n_replaced_chars :]
    assert shown == after
    if fitted is not None:
        again = fit(fitted.text, prefix, suffix, path=path)
        assert again == fitted, "what was fitted once fits"


def test_there_are_as_many_cases_as_promised() -> None:
    assert len(CASES) >= 150 and all(len(table) >= 10 for table in TABLES.values())

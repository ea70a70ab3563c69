"""What happens while people type, as a table: where the cursor is, what the model says there, and
what the text is once the suggestion was accepted.

``|`` is the cursor. SILENT: there must be no suggestion at all. Each row stands under a pain of the
users of such tools (they are numbered in the issue trackers of llama.vim, Continue, Tabby, Copilot
and others); what is right is what a careful colleague would have typed.
"""

from dataclasses import dataclass

SILENT = None

PYTHON, JAVASCRIPT, TYPESCRIPT, GO, RUST, C, JAVA, LUA, MARKDOWN, YAML = (
    ("python", ".py"),
    ("javascript", ".js"),
    ("typescript", ".ts"),
    ("go", ".go"),
    ("rust", ".rs"),
    ("c", ".c"),
    ("java", ".java"),
    ("lua", ".lua"),
    ("markdown", ".md"),
    ("yaml", ".yaml"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One row."""

    pain: str
    language: tuple[str, str]
    """The editor's id and the file's suffix."""
    before: str
    says: str
    after: str | None

    @property
    def name(self) -> str:
        """For the report of a failure."""
        return f"{self.pain} {self.language[0]} {self.before[-40:]!r} + {self.says[:30]!r}"


def _rows(pain: str, language: tuple[str, str], *rows: tuple[str, str, str | None]):
    return [
        Scenario(pain=pain, language=language, before=before, says=says, after=after)
        for before, says, after in rows
    ]


_REPEATS = "3 repeats what stands below"
_BRACKETS = "4 brackets that the editor closed"
_INDENT = "5 wrong indentation"
_LEAKS = "6 special tokens leak"
_ACCEPT = "14 accepting corrupts the text"
_TOO_LONG = "15 too long, in the way"

TABLE: tuple[Scenario, ...] = (
    *_rows(
        _REPEATS,
        PYTHON,
        ("def f(a):\n    |\n    return a\n", "return a\n", SILENT),
        ("def f(a):\n    b = 1|\n    return a\n", "\n    return a\n", SILENT),
        ("x = 1\n|\ny = 2\n", "y = 2\n", SILENT),
        ("x = 1\n|\ny = 2\nz = 3\n", "y = 2\nz = 3\n", SILENT),
        (
            "def f(a):\n    |\n    return a\n",
            "b = a + 1\n    return a\n",
            "def f(a):\n    b = a + 1|\n    return a\n",
        ),
        (
            "import os\n|\n\ndef main():\n    pass\n",
            "import sys\n\ndef main():\n    pass\n",
            "import os\nimport sys|\n\ndef main():\n    pass\n",
        ),
        ("total = compute_total(items)\n|", "total = compute_total(items)\n", SILENT),
        ("values = [\n    1,\n    |\n]\n", "2,\n]\n", "values = [\n    1,\n    2,|\n]\n"),
        ("if ready:\n    |\nelse:\n    stop()\n", "else:\n    stop()\n", SILENT),
        (
            "if ready:\n    |\nelse:\n    stop()\n",
            "start()\nelse:\n    stop()\n",
            "if ready:\n    start()|\nelse:\n    stop()\n",
        ),
    ),
    *_rows(
        _REPEATS,
        JAVASCRIPT,
        ("function f() {\n  |\n}\n", "}\n", SILENT),
        ("function f() {\n  |\n}\n", "return 1;\n}\n", "function f() {\n  return 1;|\n}\n"),
        ("const a = 1;\n|\nconst b = 2;\n", "const b = 2;\n", SILENT),
        ("call(() => {\n  |\n});\n", "run();\n});\n", "call(() => {\n  run();|\n});\n"),
    ),
    *_rows(
        _REPEATS,
        GO,
        ("func f() int {\n\t|\n}\n", "return 1\n}\n", "func f() int {\n\treturn 1|\n}\n"),
        ("if err != nil {\n\t|\n}\n", "}\n", SILENT),
    ),
    *_rows(
        _REPEATS,
        RUST,
        ("fn f() -> u8 {\n    |\n}\n", "total\n}\n", "fn f() -> u8 {\n    total|\n}\n"),
        ("let a = 1;\n|\nlet b = 2;\n", "let b = 2;\n", SILENT),
    ),
    *_rows(
        _REPEATS,
        C,
        ("int f(void) {\n    |\n}\n", "return 0;\n}\n", "int f(void) {\n    return 0;|\n}\n"),
        ("#include <a.h>\n|\n#include <b.h>\n", "#include <b.h>\n", SILENT),
    ),
    *_rows(
        _REPEATS,
        LUA,
        (
            "local function f()\n  |\nend\n",
            "return 1\nend\n",
            "local function f()\n  return 1|\nend\n",
        ),
        ("local function f()\n  |\nend\n", "end\n", SILENT),
    ),
    *_rows(
        _REPEATS,
        YAML,
        ("on:\n  push:\n|\njobs:\n  test:\n", "jobs:\n  test:\n", SILENT),
        ("a: 1\n|\nc: 3\n", "b: 2\nc: 3\n", "a: 1\nb: 2|\nc: 3\n"),
    ),
    *_rows(
        _REPEATS,
        MARKDOWN,
        ("# Title\n\n|\n\nThe end of it.\n", "The end of it.\n", SILENT),
    ),
    *_rows(
        _BRACKETS,
        PYTHON,
        ("print(|)\n", "total)\n", "print(total|)\n"),
        ("print(|)\n", "total", "print(total|)\n"),
        ("print(|)\n", "))", SILENT),
        ("items[|]\n", "index]\n", "items[index|]\n"),
        ("items[|]\n", "0]\n", SILENT),
        ('name = "|"\n', 'starling"\n', 'name = "starling"|\n'),
        ("name = '|'\n", "starling'\n", "name = 'starling'|\n"),
        ("f(g(|))\n", "value))\n", "f(g(value|))\n"),
        ("def f(|):\n", "self, a):\n", "def f(self, a|):\n"),
        ("def f(|):\n    pass\n", "self):\n    pass\n", "def f(self|):\n    pass\n"),
        ("data = {|}\n", '"a": 1}\n', 'data = {"a": 1|}\n'),
        ("x = (a + |)\n", "base)\n", "x = (a + base|)\n"),
        ("x = a|\n", " + b))\n", "x = a + b|\n"),
        ("foo(|, other)\n", "value", SILENT),
        ("foo(ba|r)\n", "zz", SILENT),
        ("re|turn 1\n", "turn", SILENT),
    ),
    *_rows(
        _BRACKETS,
        JAVASCRIPT,
        ("console.log(|);\n", "total);\n", "console.log(total|);\n"),
        ("const f = (|) => 1;\n", "a, b", SILENT),
        ("const a = [|];\n", "1, 2];\n", "const a = [1, 2|];\n"),
        ("if (|) {\n}\n", "ready) {\n", "if (ready|) {\n}\n"),
        ("const s = `|`;\n", "text`;\n", "const s = `text`;|\n"),
    ),
    *_rows(
        _BRACKETS,
        TYPESCRIPT,
        ("const m: Map<|> = x\n", "string", SILENT),
        ("let a: Array<|>;\n", "number>;\n", "let a: Array<number>;|\n"),
    ),
    *_rows(
        _BRACKETS,
        JAVA,
        ("System.out.println(|);\n", "total);\n", "System.out.println(total|);\n"),
        ("int[] a = {|};\n", "1, 2};\n", "int[] a = {1, 2|};\n"),
    ),
    *_rows(
        _BRACKETS,
        RUST,
        ("println!(|);\n", '"{}", total);\n', 'println!("{}", total|);\n'),
        ("let v = vec![|];\n", "1, 2];\n", "let v = vec![1, 2|];\n"),
    ),
    *_rows(
        _BRACKETS,
        C,
        ("printf(|);\n", '"%d", n);\n', 'printf("%d", n|);\n'),
        ("int a[|];\n", "SIZE];\n", "int a[SIZE|];\n"),
    ),
    *_rows(
        _INDENT,
        PYTHON,
        ("def f():\n    |", "return 1\n", "def f():\n    return 1|"),
        ("def f():\n    |", "    return 1\n", "def f():\n    return 1|"),
        (
            "class A:\n    def f(self):\n        |",
            "pass\n",
            "class A:\n    def f(self):\n        pass|",
        ),
        (
            "def f():\n    |",
            "a = 1\n    b = 2\n    return a + b\n",
            "def f():\n    a = 1\n    b = 2\n    return a + b|",
        ),
        ("def f():\n    |", "a = 1\n\n\ndef g():\n    pass\n", "def f():\n    a = 1|"),
        ("def f():|", "\n    return 1\n", "def f():\n    return 1|"),
        ("if a:\n    |\n", "b()\nc()\n", "if a:\n    b()|\n"),
        ("x = |", " 1\n", SILENT),
    ),
    *_rows(
        _INDENT,
        GO,
        ("func f() {\n\t|", "a := 1\n\tb := 2\n}\n", "func f() {\n\ta := 1\n\tb := 2|"),
        ("func f() {\n\t|\n}\n", "a := 1\n\tb := 2\n}\n", "func f() {\n\ta := 1\n\tb := 2|\n}\n"),
    ),
    *_rows(
        _INDENT,
        C,
        ("int f(void)\n{\n\t|", "return 0;\n}\n", "int f(void)\n{\n\treturn 0;|"),
    ),
    *_rows(
        _INDENT,
        YAML,
        ("jobs:\n  test:\n    |", "runs-on: linux\n", "jobs:\n  test:\n    runs-on: linux|"),
    ),
    *_rows(
        _LEAKS,
        PYTHON,
        ("a = |", "value_1<file_sep>b.py\n", "a = value_1|"),
        ("a = |", "<file_sep>", SILENT),
        ("a = |", "<fim_prefix>x<fim_suffix>", SILENT),
        ("a = |", "value_2<|endoftext|>rest", "a = value_2|"),
        ("a = |", "value_3<fim_middle>", "a = value_3|"),
        ("a = |", "value_4<|im_end|>\n", "a = value_4|"),
        ("a = |", "value_5<|fim_pad|>", "a = value_5|"),
        ("a = |", "value_6</s>", "a = value_6|"),
        ("a = |", "value_7<EOT>", "a = value_7|"),
        ("a = |", "value_8<reponame>", "a = value_8|"),
        ("a = |", "value_9<｜end▁of▁sentence｜>", "a = value_9|"),
        ("a = |", "value_10\x1b[31m", "a = value_10|"),
        ("a = |", "value_11\x00\x01", "a = value_11|"),
        ('SEP = "<file_sep>"\nb = |', '"<file_sep>"\n', 'SEP = "<file_sep>"\nb = "<file_sep>"|'),
    ),
    *_rows(
        _ACCEPT,
        PYTHON,
        ("# 😀😀\nx = |", "compute()\n", "# 😀😀\nx = compute()|"),
        ('s = "😀" + |', "other\n", 's = "😀" + other|'),
        ("é = |\nd = 1\n", "1 + é\n", "é = 1 + é|\nd = 1\n"),
        ("日本 = 1\nprint(|)\n", "日本 + 日本)\n", "日本 = 1\nprint(日本 + 日本|)\n"),
        ('a = "\u2028"\nb = |\nc = 1\n', "a * 2\n", 'a = "\u2028"\nb = a * 2|\nc = 1\n'),
        ("a = 1\x0c\nb = |\nc = 1\n", "a * 3\n", "a = 1\x0c\nb = a * 3|\nc = 1\n"),
        ("a = 1\n\x0c\nclass B:\n    |\n", "c = 4\n", "a = 1\n\x0c\nclass B:\n    c = 4|\n"),
        ("x = |", '"😀é"\n', 'x = "😀é"|'),
        ("𝒳 = |\n𝒴 = 1\n", "𝒴 + 𝒳\n", "𝒳 = 𝒴 + 𝒳|\n𝒴 = 1\n"),
        ("|", "import json\n", "import json|"),
        ("\n\n|", "import csv\n", "\n\nimport csv|"),
        ("a\u0301 = |", "5 + 5\n", "a\u0301 = 5 + 5|"),
    ),
    *_rows(
        _ACCEPT,
        MARKDOWN,
        ("Ein Satz mit Umlauten: |", "äöü und mehr\n", "Ein Satz mit Umlauten: äöü und mehr|"),
    ),
    *_rows(
        _TOO_LONG,
        PYTHON,
        ("x = |", "one\ny = two\nz = three\n", "x = one|"),
        ("x = |\ny = 2\n", "one_line\nand_more\n", "x = one_line|\ny = 2\n"),
        ("foo(|)\n", "bar)\nbaz()\n", "foo(bar|)\n"),
        ("def f():\n    return |\n", "total\n    more = 1\n", "def f():\n    return total|\n"),
        ("a = 1\n|", "\n\n\n\n\n", SILENT),
        ("a = 1\n|", "   \n  \n", SILENT),
        ("x = |", "0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0\n", "x = 0, 0|"),
        ("a = |", "\t\n", SILENT),
        (
            "def f():\n    |",
            "log(1)\n    log(1)\n    log(1)\n    log(1)\n    log(1)\n",
            "def f():\n    log(1)|",
        ),
    ),
    *_rows(
        _TOO_LONG,
        JAVASCRIPT,
        ("const x = |", "1;\nconst y = 2;\n", "const x = 1;|"),
        ("return |;\n", "value;\n", "return value;|\n"),
    ),
)

ACCEPTING = tuple(row for row in TABLE if row.pain == _ACCEPT)
"""The rows that hold characters of more than one unit."""

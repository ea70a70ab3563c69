"""Guards what an explanation says of code in each language: a failure would tell a user that a
function returns, raises, changes or calls something that it does not, or hide that it does.

Each language has its own grammar, so each has its own cases; what is expected was read off the
source by hand.
"""

import pytest

from lsp_server.explain.facts import OutlineFacts
from lsp_server.explain.markdown import to_markdown
from lsp_server.explain.reading import read
from tests.lsp_server.explained import (
    CPP,
    GO,
    JAVA,
    JAVASCRIPT,
    PYTHON,
    RUST,
    TYPESCRIPT,
    C,
    at,
    function,
    line,
    origins,
    texts,
)


def test_a_python_function() -> None:
    facts, body = function(PYTHON, "a.py", "raise ValueError")
    assert facts.header == "def load(path: str, *names, retries: int = 2, **more) -> dict"
    assert [(one.name, one.type, one.default, one.note) for one in facts.parameters] == [
        ("path", "str", "", ""),
        ("*names", "", "", "takes the other positional arguments"),
        ("retries", "int", "2", "only by keyword"),
        ("**more", "", "", "takes the other keyword arguments"),
    ]
    assert facts.return_type == "dict" and facts.owner == ""
    assert texts(body.returns) == ["_cache[name]", "j.loads(Path(path).read_text())"]
    assert not body.may_fall_off
    assert texts(body.raises) == [
        "`ValueError` if `not path`",
        "`RuntimeError` after `(OSError, KeyError)`",
    ]
    assert texts(body.catches) == ["`(OSError, KeyError)`"]
    assert texts(body.reads) == ["the global `_cache`"]
    assert texts(body.writes) == ["the global `LIMIT`", "what is in its parameter `more`"]
    assert {text.partition(" (")[0] for text in texts(body.effects)} == {
        "writes files",
        "reads files",
        "reads the environment",
    }
    assert origins(body)["j.loads"] == ("IMPORTED", "`json.loads`")
    assert origins(body)["open"] == ("BUILTIN", "")
    assert origins(body)["file.write"] == ("VALUE", "")
    markdown = to_markdown(facts, at(PYTHON, "a.py", "raise V").language, None)
    assert "Loads a file. It may be missing! *(from its documentation)*" in markdown
    assert '- if `not path`: raises `ValueError("no path")`' in markdown
    assert "- for each `name` of `names`:" in markdown
    assert "in a loop, writes files (`open`) (line 22)" in markdown


def test_python_methods() -> None:
    facts, body = function(PYTHON, "a.py", "helper(item")
    assert facts.owner == "Store" and facts.words == ("async",)
    assert [(one.name, one.note) for one in facts.parameters] == [
        ("self", "receiver"),
        ("item", "only by position"),
        ("now", "only by keyword"),
    ]
    assert origins(body)["helper"] == ("HERE", f"line {line(PYTHON, 'def helper')}")
    assert origins(body)["self.flush"] == ("OWN", f"line {line(PYTHON, 'async def flush')}")
    assert texts(body.writes) == ["what is in `self._items`, by `append`"]
    _, body = function(PYTHON, "a.py", "self.root = ro")
    assert texts(body.writes) == ["`self.root`", "`self._items`"]
    _, body = function(PYTHON, "a.py", "for b in")
    assert [text.partition(":")[0] for text in texts(body.costs)] == [
        "a loop inside a loop",
        "sorts in a loop (`sorted`)",
        "waits in a loop, for one after the other",
    ]
    facts, body = function(PYTHON, "a.py", "return 1 if n")
    assert facts.words == ("static",) and "calls itself" in body.costs[0].text
    facts, body = function(PYTHON, "a.py", "yield from")
    assert facts.words == ("generator",) and texts(body.yields) == ["each of `self._items`"]
    facts, _ = function(PYTHON, "a.py", "return self._items[0]")
    assert facts.decorators == ("@property",) and facts.doc == "The first one."


def test_python_outlines() -> None:
    facts = at(PYTHON, "a.py", "class Sto").facts
    assert isinstance(facts, OutlineFacts)
    assert facts.header == "class Store(Base)" and facts.kind == "class"
    assert [(one.name, one.type) for one in facts.fields] == [
        ("size", "int"),
        ("root", ""),
        ("_items", ""),
    ]
    assert [one.title.partition("(")[0] for one in facts.members] == [
        "def __init__",
        "def first",
        "async def add",
        "async def flush",
        "def count",
        "def walk",
    ]
    file = read(PYTHON, path="a.py", where=None).facts
    assert isinstance(file, OutlineFacts)
    assert file.doc == "Reads settings." and file.imports == ("os", "json", "pathlib")
    assert [(one.line, one.summary) for one in file.members] == [
        (line(PYTHON, "def load"), "Loads a file."),
        (line(PYTHON, "class Store"), "has `size`, `root`, `_items` and 6 more"),
        (line(PYTHON, "def helper"), "returns `x`"),
    ]


def test_typescript() -> None:
    facts, body = function(TYPESCRIPT, "a.ts", "rest.push")
    assert facts.doc.startswith("Loads an item.") and facts.owner == "Store"
    assert [(one.name, one.type, one.default) for one in facts.parameters] == [
        ("k", "string", ""),
        ("{ deep }", "Options", "{}"),
        ("...rest", "string[]", ""),
    ]
    assert facts.return_type == "Promise<T>"
    assert texts(body.returns) == ["this.load(k)", "deep"] and body.may_fall_off
    assert texts(body.raises) == ["`RangeError` if `!v`", "`e` after any error"]
    assert set(texts(body.writes)) == {
        "what is in its parameter `rest`, by `push`",
        "`this.n`",
        "the global `count`",
    }
    assert "the global `LIMIT`" in texts(body.reads) and "`this.items`" in texts(body.reads)
    assert origins(body)["rf"] == ("IMPORTED", "`fs.readFile`")
    assert origins(body)["helper"] == ("HERE", f"line {line(TYPESCRIPT, 'function helper')}")
    assert origins(body)["this.load"] == ("OWN", f"line {line(TYPESCRIPT, 'private load')}")
    assert "a loop inside a loop" in body.costs[0].text
    told = [step.text for step in body.flow]
    assert 'for `"a"`: returns `deep`' in told
    assert not any("leaves the loop" in text for text in told), "a break of a switch"
    facts, body = function(TYPESCRIPT, "a.ts", "async (q")
    assert facts.name == "arrow" and origins(body)["g"][0] == "PASSED_IN"


def test_go() -> None:
    facts, body = function(GO, "a.go", "range c")
    assert facts.owner == "S" and facts.doc == "Get returns the sum. It fails when f does."
    assert [(one.name, one.type, one.note) for one in facts.parameters] == [
        ("s", "*S", "receiver"),
        ("a", "int", ""),
        ("b", "int", ""),
        ("c", "...string", "takes any number"),
    ]
    assert texts(body.returns) == ['0, e.New("no")', "s.n, err"]
    assert texts(body.raises) == ["`panic` if `a > b`"]
    assert texts(body.writes) == ["`s.n`", "what is in the global `Cache`"]
    assert origins(body)["e.New"] == ("IMPORTED", "`errors.New`")
    assert origins(body)["s.close"] == ("OWN", f"line {line(GO, 'func (s *S) close')}")
    assert origins(body)["f"] == ("UNKNOWN", "")
    assert body.flow[0].text == "when it ends: `s.close()`"
    assert texts(body.effects) == ["reads files (`os.ReadFile`)"]


def test_rust() -> None:
    facts, body = function(RUST, "a.rs", "0..MAX")
    assert facts.owner == "S" and facts.doc == "Gets a value." and facts.words == ("public",)
    assert texts(body.returns) == ["Ok(1)", "Ok(*t as u32)", "Err(E::new())"]
    assert texts(body.raises) == ["hands on errors of `fs::read(k)`", "`panic!` in all other cases"]
    assert texts(body.writes) == ["`self.n`", "what is in `self.v`, by `push`"]
    assert "the global `MAX`" in texts(body.reads)
    assert origins(body)["self.helper"] == ("OWN", f"line {line(RUST, 'fn helper')}")
    assert origins(body)["fs::read"] == ("IMPORTED", "`std::fs::read`")
    assert 'for `"a" | "b" if a > b`: returns `Ok(1)`' in [step.text for step in body.flow]
    _, body = function(RUST, "a.rs", "-> usize {")
    assert texts(body.returns) == ["MAX"]


def test_c() -> None:
    facts, body = function(C, "a.c", "while ((")
    assert [(one.name, one.type) for one in facts.parameters] == [
        ("path", "const char *"),
        ("out", "size_t *"),
    ]
    assert facts.doc == "Counts the bytes of a file." and facts.return_type == "int"
    assert texts(body.returns) == ["-1", "0"]
    assert texts(body.writes) == [
        "what is in the global `table`",
        "what its parameter `out` points to",
    ]
    assert origins(body)["fgetc"] == ("UNKNOWN", "")
    assert "if `!f`: returns `-1`" in [step.text for step in body.flow]


def test_cpp() -> None:
    facts, body = function(CPP, "a.cpp", "auto& v")
    assert facts.owner == "S" and facts.doc == "Finds one."
    assert texts(body.raises) == ["`std::runtime_error` if `v.q`"]
    assert set(texts(body.writes)) == {
        "what is in its parameter `out`, by `push_back`",
        "`n` of the object",
    }
    assert (
        origins(body)["helper"] == ("OWN", f"line {line(CPP, 'int helper')}")
        and origins(body)["f"][0] == "PASSED_IN"
    )
    facts, body = function(CPP, "a.cpp", "S(int x")
    assert facts.words == ("constructor",) and texts(body.writes) == ["`n` of the object"]


def test_java() -> None:
    facts, body = function(JAVA, "a.java", "int x :")
    assert facts.decorators == ("@Override",) and facts.doc.startswith("Loads the lines")
    assert texts(body.returns) == ["Files.readAllLines(k)"] and not body.may_fall_off
    assert texts(body.raises) == ["`X` after `IOException | Foo`"]
    assert texts(body.writes) == ["`n` of the object", "what is in `m` of the object, by `put`"]
    assert origins(body)["Files.readAllLines"][0] == "IMPORTED"
    assert texts(body.effects) == ["reads files (`Files.readAllLines`)"]
    _, body = function(JAVA, "a.java", "return n <=")
    assert "calls itself" in body.costs[0].text


def test_javascript() -> None:
    facts, body = function(JAVASCRIPT, "a.js", "JSON.parse")
    assert facts.name == "load" and facts.doc.startswith("Loads settings.")
    assert texts(body.raises) == ["`Error` if `strict`"]
    assert texts(body.effects) == ["reads files (`fs.readFile`)"]
    assert "raises ``new Error(`bad ${file}`)``" in to_markdown(
        facts, at(JAVASCRIPT, "a.js", "JSON").language, None
    )
    facts, body = function(JAVASCRIPT, "a.js", "tree.kids")
    assert texts(body.yields) == ["`tree.value`", "each of `walk(kid)`"]
    _, body = function(JAVASCRIPT, "a.js", "size > 9")
    assert texts(body.writes) == [
        "what is in `this.#items`, by `delete` and `set`",
        "`document.title`, built in",
    ]
    facts, body = function(JAVASCRIPT, "a.js", "delete this.la")
    assert facts.header == "Cache.prototype.drop = function (done)"
    assert texts(body.writes) == ["`this.last`"]
    assert [step.text for step in body.flow] == [
        "deletes `this.last`",
        "once, and then again as long as `!this.idle`: calls `done()`",
    ]
    facts, body = function(JAVASCRIPT, "a.js", "q.select")
    assert [call.text for call in body.calls] == [
        "….limit",
        "….where",
        "q.select().from",
        "q.select",
    ]


def test_an_outline_of_javascript_has_what_is_exported_and_added_to_prototypes() -> None:
    outline = read(JAVASCRIPT, path="a.js", where=None).facts
    assert isinstance(outline, OutlineFacts)
    assert outline.imports == ("node:fs/promises", "path")
    assert [member.title.partition("(")[0].strip() for member in outline.members] == [
        "load = async",
        "function* walk",
        "class Cache",
        "module.exports.start = function",
        "Cache.prototype.drop = function",
        "sum",
        "diff =",
        "class Box",
        "query =",
    ]
    facts = at(JAVASCRIPT, "a.js", "class Cac").facts
    assert isinstance(facts, OutlineFacts) and facts.fields[0].name == "#items"


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("function f(c) { switch (c) { %s } }", "a.js"),
        ("int f(int c) { switch (c) { %s } }", "a.c"),
        ("class A { int f(int c) { switch (c) { %s } } }", "a.java"),
    ],
)
def test_cases_that_fall_through_are_told_so(text: str, path: str) -> None:
    cases = "case 1: case 2: return 5; case 3: g(); case 4: break; default: h();"
    _, body = function(text % cases, path, "switch")
    assert [step.text for step in body.flow] == [
        "depending on `c`:",
        "for `1` or `2`: returns `5`",
        "for `3`:",
        "calls `g()`",
        "goes on with the next case",
        "for `4`: does nothing",
        "for all others: calls `h()`",
    ]


def test_results_with_names_and_fallthrough_of_go() -> None:
    text = (
        "package p\n\nfunc f(c int) (n int, err error) {\n\tswitch c {\n\tcase 1:\n\t\tg()\n"
        "\t\tfallthrough\n\tcase 2:\n\t\tn++\n\t}\n\treturn\n}\n"
    )
    _, body = function(text, "a.go", "switch")
    assert body.writes == () and body.reads == () and texts(body.returns) == ["n, err"]
    assert [step.text for step in body.flow] == [
        "depending on `c`:",
        "for `1`:",
        "calls `g()`",
        "goes on with the next case",
        "for `2`: `n++`",
        "returns `n, err`",
    ]


def test_a_value_of_a_java_switch_is_no_return() -> None:
    text = "class A { int f(int c) { int k = switch (c) { default -> { yield 6; } }; return k; } }"
    _, body = function(text, "A.java", "switch")
    assert texts(body.returns) == ["k"]
    assert body.flow[0].text.startswith("sets `k`, depending on `switch (c)")


def test_a_header_lists_what_it_declares() -> None:
    text = (
        "#ifndef H\n#include <stddef.h>\n/* Opens it. */\nint open_it(const char *path);\n"
        'extern char *names[3];\n#ifdef __cplusplus\nextern "C" {\n#endif\nsize_t n(void);\n'
        "typedef struct { int x; } point;\n#ifdef __cplusplus\n}\n#endif\n#endif\n"
    )
    outline = read(text, path="a.h", where=None).facts
    assert isinstance(outline, OutlineFacts) and outline.error_line is None
    assert [(member.title, member.summary) for member in outline.members] == [
        ("int open_it(const char *path)", "Opens it."),
        ("size_t n(void)", ""),
        ("struct point", "has `x`"),
    ]

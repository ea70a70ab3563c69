"""Guards what an explanation says of any code: a failure would tell a user that a function ends,
changes or calls something that it does not, or answer a half-typed line with a crash.

What is expected was read off the source by hand; what differs from language to language stands in
test_explain_languages.py.
"""

import random
import time

import pytest

from lsp_server.errors import ExplainError
from lsp_server.explain.facts import FragmentFacts, FunctionFacts, OutlineFacts
from lsp_server.explain.markdown import to_markdown
from lsp_server.explain.reading import MAX_CHARS, Where, read, read_named
from tests.lsp_server.explained import (
    CPP,
    GO,
    JAVA,
    PYTHON,
    RUST,
    TYPESCRIPT,
    C,
    at,
    function,
    origins,
    texts,
)


@pytest.mark.parametrize(
    ("body", "falls"),
    [
        ("return 1", False),
        ("raise x", False),
        ("pass", True),
        ("if a:\n        return 1", True),
        ("if a:\n        return 1\n    else:\n        raise b", False),
        ("if a:\n        return 1\n    elif b:\n        return 2", True),
        (
            "if a:\n        return 1\n    elif b:\n        return 2\n    else:\n        return 3",
            False,
        ),
        ("while True:\n        f()", False),
        ("while True:\n        break", True),
        ("for x in y:\n        return x", True),
        ("try:\n        return 1\n    except E:\n        pass", True),
        ("try:\n        return 1\n    except E:\n        raise", False),
        ("try:\n        f()\n    finally:\n        return 1", False),
        ("with a:\n        return 1", False),
    ],
)
def test_where_the_end_can_be_reached(body: str, falls: bool) -> None:
    facts, read_body = function(f"def f(a, b):\n    {body}\n", "a.py", "def f")
    assert read_body.may_fall_off is falls, facts


def test_selected_statements() -> None:
    text = "def f(a, b):\n    c = a + 1\n    d = g(c)\n    if d:\n        return b\n    return d\n"
    start, end = text.index("d = g"), text.index("    return d")
    facts = read(text, path="a.py", where=Where(start_char=start, end_char=end)).facts
    assert isinstance(facts, FragmentFacts)
    assert (facts.inside, facts.first_line, facts.last_line) == ("f", 3, 5)
    assert facts.uses == ("c", "b") and facts.leaves == ("d",)
    assert texts(facts.body.returns) == ["b"]
    whole = read(text, path="a.py", where=Where(start_char=0, end_char=len(text))).facts
    assert isinstance(whole, FunctionFacts) and whole.name == "f"
    both = read(text * 2, path="a.py", where=Where(start_char=0, end_char=2 * len(text))).facts
    assert isinstance(both, OutlineFacts) and len(both.members) == 2


@pytest.mark.parametrize(
    ("path", "text", "place", "name"),
    [
        ("a.py", "def half(a, b", "half", "half"),
        ("a.py", "def half(a, b):\n    for x in a:\n        if x:\n", "half", "half"),
        ("a.ts", "function half(a: number) { if (a) { return g(a", "half", "half"),
        ("a.go", "package m\nfunc half(a int) int {\n\treturn g(a", "half", "half"),
        ("a.rs", "fn half(a: u8) -> u8 { let x = g(a", "half", "half"),
        ("a.java", "class A { int half(int a) { return g(a", "half", "half"),
    ],
)
def test_half_a_function_gets_an_honest_answer(path, text, place, name) -> None:
    subject = at(text, path, place)
    markdown = to_markdown(subject.facts, subject.language, None)
    assert isinstance(subject.facts, FunctionFacts) and subject.facts.name == name
    assert subject.facts.parameters[0].name == "a"
    assert f"Line {text.rstrip().count(chr(10)) + 1} has a syntax error or is not fin" in markdown


def test_a_broken_line_does_not_hide_the_rest() -> None:
    broken = PYTHON.replace("    LIMIT += 1\n", "    LIMIT += = (\n")
    subject = at(broken, "a.py", "raise ValueError")
    markdown = to_markdown(subject.facts, subject.language, None)
    assert "has a syntax error or is not finished" in markdown
    assert "`ValueError` if `not path`" in markdown


def test_any_text_is_answered() -> None:
    """Nobody's half-typed line may crash the server."""
    rng = random.Random(5)
    sources = {"a.py": PYTHON, "a.ts": TYPESCRIPT, "a.go": GO, "a.rs": RUST}
    sources |= {"a.c": C, "a.cpp": CPP, "a.java": JAVA, "b.js": TYPESCRIPT, "b.tsx": TYPESCRIPT}
    for path, text in sources.items():
        for _ in range(8):
            start = rng.randrange(len(text))
            cut = (
                text[:start]
                + rng.choice(["", "(", "}", '"', "é", "\n"])
                + text[start + rng.randrange(40) :]
            )
            ends = sorted(rng.randrange(len(cut) + 1) for _ in range(2))
            for where in (
                None,
                Where(start_char=ends[0], end_char=ends[0]),
                Where(start_char=ends[0], end_char=ends[1]),
            ):
                subject = read(cut, path=path, where=where)
                assert to_markdown(subject.facts, subject.language, None)
            read_named(cut, path=path, at_char=ends[0])


def test_hovering_over_a_name_finds_its_definition() -> None:
    def name_at(place: str) -> str | None:
        char = PYTHON.index(place) + len(place) - 1
        subject = read_named(PYTHON, path="a.py", at_char=char)
        return getattr(subject.facts, "name", "") if subject is not None else None

    assert name_at("helper(i"[:4]) == "helper"
    assert name_at("self.flush"[:8]) == "flush"
    assert name_at("class Stor") == "Store"
    assert name_at("raise") is None and name_at("names") is None


def test_what_cannot_be_explained_says_so() -> None:
    with pytest.raises(ExplainError, match="no language that can be explained.*Python"):
        read("x", path="a.txt", where=None)
    with pytest.raises(ExplainError, match="split it"):
        read("x" * (MAX_CHARS + 1), path="a.py", where=None)


def test_two_hundred_lines_take_no_time() -> None:
    """Several times what was measured: only a slower kind of reading fails here."""
    lines = [f"    if a{i} > b: total += f{i % 7}(x, self.y) or [k for k in z]" for i in range(199)]
    text = "class A:\n  def f(self, x):\n" + "\n".join(lines) + "\n"
    where = Where(start_char=12, end_char=12)
    read(text, path="a.py", where=where)
    took_ms = []
    for _ in range(3):
        started_s = time.process_time()
        read(text, path="a.py", where=where)
        took_ms.append((time.process_time() - started_s) * 1e3)
    assert min(took_ms) < 200, took_ms


def test_what_is_inside_is_not_the_functions_own() -> None:
    text = (
        "import time\n\n\ndef outer(items):\n"
        "    def inner(self, x):\n        self.n = time.time()\n        return helper(x)\n\n"
        "    class Inner:\n        def f(self):\n            self.x = call()\n\n"
        "    setattr(items, 'a', inner)\n    return [lambda y: y + 1 for _ in items]\n"
    )
    facts, body = function(text, "a.py", "def outer")
    assert facts.parameters[0].name == "items"
    assert texts(body.writes) == ["what is in its parameter `items`, by `setattr`"]
    assert body.effects == () and body.raises == () and body.reads == ()
    assert set(origins(body)) == {"time.time", "helper", "setattr"}
    told = to_markdown(facts, at(text, "a.py", "def outer").language, None)
    assert "**Calls**, with those of the functions inside it" in told


def test_other_names_of_parts_are_followed() -> None:
    text = (
        "class A:\n    def f(self, other):\n"
        "        items = self.items\n        items.append(1)\n"
        "        table = other.table\n        table['x'] = 2\n"
        "        copy = self.rows[:]\n        copy.append(3)\n"
        "        self.clear()\n        return super().f(other)\n"
    )
    _, body = function(text, "a.py", "def f")
    assert texts(body.writes) == [
        "what is in `self.items`, by `append`",
        "what is in `other.table` of its parameter `other`",
    ]
    assert origins(body)["super().f"] == ("OWN", "")


def test_comments_in_a_head_are_not_in_the_title() -> None:
    text = "def f(a,  # first\n      b):  # so\n    # what\n    return a\n"
    facts, body = function(text, "a.py", "return")
    assert facts.header == "def f(a, b)"


def test_a_signature_is_no_purpose() -> None:
    text = 'def f(a):\n    """f(a: int) -> str\n\n    Spells a number.\n    """\n'
    subject = at(text, "a.py", "def f")
    assert "\nSpells a number. *(from" in to_markdown(subject.facts, subject.language, None)


def test_what_is_too_deep_for_the_steps_is_not_called_simple() -> None:
    text = "def f(x):\n" + "".join("    " * i + f"if x{i}:\n" for i in range(1, 9))
    _, body = function(text + "    " * 9 + "raise ValueError\n", "a.py", "def f")
    assert "more, nested deeper" in body.flow[-1].text
    assert "simple" not in body.flow[-1].text


ELSE_IFS = {
    "a.py": (
        "def f(x):\n    if x == 0:\n        return 0\n",
        "    elif x == {0}:\n        return {0}\n",
        "",
    ),
    "a.js": (
        "function f(x) {\n if (x == 0) return 0;\n",
        "else if (x == {0}) return {0};\n",
        "}\n",
    ),
    "a.c": ("int f(int x) {\n if (x == 0) return 0;\n", "else if (x == {0}) return {0};\n", "}\n"),
    "a.java": (
        "class A { int f(int x) {\n if (x == 0) return 0;\n",
        "else if (x == {0}) return {0};\n",
        "} }\n",
    ),
    "a.go": (
        "package p\nfunc f(x int) int {\n if x == 0 { return 0 }",
        " else if x == {0} {{ return {0} }}",
        "\n}\n",
    ),
    "a.rs": ("fn f(x: i32) -> i32 {\n if x == 0 { 0 }", " else if x == {0} {{ {0} }}", "\n}\n"),
}


@pytest.mark.parametrize("path", ELSE_IFS)
def test_long_chains_of_else_if_are_read_to_their_end(path: str) -> None:
    """Python's stack would not hold one level for each."""
    start, link, end = ELSE_IFS[path]
    text = start + "".join(link.format(i) for i in range(1, 1200)) + end
    _, body = function(text, path, "f(")
    assert [one.text for one in body.returns[:1200]] == [str(i) for i in range(1200)]
    assert body.n_branches == 1200
    told = [step.text for step in body.flow]
    assert told[0].startswith("if `x == 0`") and told[1].startswith("or else if `x == 1`")


def test_what_is_nested_too_deep_is_refused_in_words_and_hides_nothing_else() -> None:
    deep = "x" + ".a(1)" * 2000
    text = f"def first(x):\n    return {deep}\n\n\ndef second():\n    return 2\n"
    with pytest.raises(ExplainError, match="levels deep: choose a part"):
        at(text, "a.py", "def first")
    outline = read(text, path="a.py", where=None).facts
    assert isinstance(outline, OutlineFacts)
    assert [member.summary for member in outline.members] == [
        "nested too deep to be read",
        "returns `2`",
    ]
    assert read(f"x = {'(' * 3000}", path="a.py", where=None).facts.error_line == 1
    blocks = "{" * 3000 + "g();" + "}" * 3000
    with pytest.raises(ExplainError, match="levels deep"):
        read(f"function f() {blocks}", path="a.js", where=Where(start_char=20, end_char=5000))


def test_what_tools_read_is_no_documentation() -> None:
    text = (
        "// Says hi.\n/* c8 ignore next */\nfunction hi() {}\n"
        "/* eslint-disable */\nfunction b() {}\n"
    )
    outline = read(text, path="a.js", where=None).facts
    assert isinstance(outline, OutlineFacts)
    assert [member.is_documented for member in outline.members] == [True, False]
    assert outline.members[0].summary == "Says hi."


def test_a_line_of_an_outline_names_the_loop_whole() -> None:
    outline = read("def f(a):\n    for x in a[1:2]:\n        g(x)\n", path="a.py", where=None).facts
    assert isinstance(outline, OutlineFacts)
    assert outline.members[0].summary == "goes through `a[1:2]`"

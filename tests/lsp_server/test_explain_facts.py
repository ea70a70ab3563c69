"""Guards what an explanation says of code: a failure would tell a user that a function returns,
raises, changes or calls something that it does not, or hide that it does.

Each language has its own grammar, so each has its own cases; what is expected was read off the
source by hand.
"""

import random
import time

import pytest

from lsp_server.errors import ExplainError
from lsp_server.explain.facts import BodyFacts, FragmentFacts, FunctionFacts, OutlineFacts
from lsp_server.explain.markdown import to_markdown
from lsp_server.explain.reading import MAX_CHARS, Subject, Where, read, read_named

PYTHON = '''\
"""Reads settings."""
import os
import json as j
from pathlib import Path

LIMIT = 3
_cache = {}


def load(path: str, *names, retries: int = 2, **more) -> dict:
    """Loads a file. It may be missing! More of it.

    Args:
        path: where
    """
    global LIMIT
    if not path:
        raise ValueError("no path")
    for name in names:
        if name in _cache:
            return _cache[name]
        with open(path, "w") as file:
            file.write(os.environ["HOME"])
    LIMIT += 1
    more["x"] = names
    try:
        return j.loads(Path(path).read_text())
    except (OSError, KeyError) as error:
        raise RuntimeError("x") from error


class Store(Base):
    size: int = 0

    def __init__(self, root):
        self.root = root
        self._items = []

    @property
    def first(self):
        """The first one."""
        return self._items[0] if self._items else None

    async def add(self, item, /, *, now=False):
        helper(item)
        self._items.append(item)
        await self.flush()

    async def flush(self):
        for a in self._items:
            for b in a:
                await self.send(sorted(b))

    @staticmethod
    def count(n):
        return 1 if n < 1 else Store.count(n - 1)

    def walk(self):
        yield from self._items


def helper(x): return x
'''
TYPESCRIPT = """\
import fs, { readFile as rf } from "fs";
const LIMIT = 10;
let count = 0;
function helper(x: number): number { return x + 1; }
/** A store. */
export class Store<T> extends Base<T> {
  private n: number = 0;
  /**
   * Loads an item. Fails when missing.
   * @param k the key
   */
  async get(k: string, { deep }: Options = {}, ...rest: string[]): Promise<T> {
    for (const v of this.items) {
      if (!v) throw new RangeError("no");
      for (let i = 0; i < LIMIT; i++) { await rf(k); rest.push(k); }
    }
    try { this.n++; count += helper(1); } catch (e) { console.log(e); throw e; }
    if (k === "") return this.load(k);
    switch (k) { case "a": return deep; default: break; }
  }
  private load(k: string) { return k; }
}
export const arrow = async (q = 3) => { const g = () => q; return g(); };
"""
GO = """\
package m

import (
	e "errors"
	"os"
)

var Cache = map[string]int{}

// S holds a count.
type S struct {
	n int
}

// Get returns the sum. It fails when f does.
func (s *S) Get(a, b int, c ...string) (int, error) {
	defer s.close()
	for i, v := range c {
		if err := f(v); err != nil {
			return 0, e.New("no")
		}
		s.n += i
	}
	Cache[c[0]] = a
	if a > b {
		panic("x")
	}
	_, err := os.ReadFile(c[0])
	return s.n, err
}

func (s *S) close() {}
"""
RUST = """\
use std::fs;
const MAX: usize = 3;
/// A store.
pub struct S { n: u32, v: Vec<u32> }
impl S {
    /// Gets a value.
    pub fn get(&mut self, k: &str, (a, b): (i32, i32)) -> Result<u32, E> {
        let x = fs::read(k)?;
        for i in 0..MAX { self.n += 1; for y in &self.v { self.v.push(*y); } }
        match k { "a" | "b" if a > b => return Ok(1), "c" => self.helper(), _ => panic!("no") }
        if let Some(t) = x.get(0) { Ok(*t as u32) } else { Err(E::new()) }
    }
    fn helper(&self) { helper2(); }
}
fn helper2() -> usize { MAX }
"""
C = """\
#include <stdio.h>
#define MAX 10
static int table[MAX];
/* Counts the bytes of a file. */
int count(const char *path, size_t *out)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        return -1;
    int c;
    while ((c = fgetc(f)) != EOF) {
        table[c % MAX]++;
        *out += 1;
    }
    return 0;
}
"""
CPP = """\
#include <vector>
namespace a {
/// Holds numbers.
class S : public B {
public:
  S(int x = 3) : n(x) {}
  /** Finds one. */
  int get(const std::string& k, std::vector<int> *out) const {
    for (auto& v : vs) { if (v.q) throw std::runtime_error("x"); out->push_back(v.q); }
    n++;
    auto f = [&](int z) { return z; };
    return f(n) + helper(k);
  }
private:
  int n; std::vector<T> vs;
  int helper(const std::string& k) const;
};
}
"""
JAVA = """\
import java.nio.file.Files;
/** A store. */
public class A extends B {
  private final Map<String, Integer> m = new HashMap<>();
  private int n = 1;
  /** Loads the lines of {@code k}. Blocks. */
  @Override public List<String> get(String k, int... xs) throws IOException {
    for (int x : xs) { n += x; m.put(k, x); }
    try { return Files.readAllLines(k); } catch (IOException | Foo e) { throw new X(e); }
  }
  static int fact(int n) { return n <= 1 ? 1 : n * fact(n - 1); }
}
"""


def at(text: str, path: str, place: str) -> Subject:
    """Explains what stands around the first place of some words."""
    char = text.index(place) + len(place)
    return read(text, path=path, where=Where(start_char=char, end_char=char))


def function(text: str, path: str, place: str) -> tuple[FunctionFacts, BodyFacts]:
    facts = at(text, path, place).facts
    assert isinstance(facts, FunctionFacts) and facts.body is not None
    return facts, facts.body


def texts(places) -> list[str]:
    return [place.text for place in places]


def line(text: str, words: str) -> int:
    """Of the first place of some words, from 1."""
    return text[: text.index(words)].count("\n") + 1


def origins(body: BodyFacts) -> dict[str, tuple[str, str]]:
    return {call.text: (call.origin.name, call.detail) for call in body.calls}


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


JAVASCRIPT = """\
import fs from "node:fs/promises";
const path = require("path");

/** Loads settings.
 * @param {string} file where
 */
export const load = async (file, { strict = false } = {}) => {
  try {
    return JSON.parse(await fs.readFile(file, "utf8"));
  } catch {
    if (strict) throw new Error(`bad ${file}`);
    return {};
  }
};
function* walk(tree) { yield tree.value; for (const kid of tree.kids) yield* walk(kid); }
class Cache {
  #items = new Map();
  set(key, value) {
    while (this.#items.size > 9) { this.#items.delete(this.#items.keys().next().value); }
    this.#items.set(key, value);
    document.title = key;
  }
}
module.exports.start = function (port) {
  switch (port) {
    case 80: case 443: return "web";
    case 22: log(port);
    case 23: return "shell";
    default: break;
  }
};
Cache.prototype.drop = function (done) { delete this.last; do { done(); } while (!this.idle) };
module.exports = { sum(a, b) { return a + b; }, diff: (a, b) => a - b, Box: class Box {} };
const query = (q) => q.select("a").from("b").where({ x: 1 }).limit(3);
"""


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

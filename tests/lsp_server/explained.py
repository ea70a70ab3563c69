"""Code in eight languages, and what an explanation says of it: for all tests of explanations."""

from lsp_server.explain.facts import BodyFacts, FunctionFacts
from lsp_server.explain.reading import Subject, Where, read

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

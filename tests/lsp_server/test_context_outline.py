"""Guards the signatures of other files: what the model reads of an imported module must be what the
module really offers, in every language that has a grammar.
"""
# ruff: noqa: E501

from pathlib import Path

import pytest

from lsp_server.context.outline import MAX_SIGNATURES, signatures

# file name -> text, lines of the outline
CASES = {
    "a.py": (
        """\
import os
LIMIT = 3

@decorated
def add(a, b=1) -> int:
    def inner(): pass
    return a + b

class Shop(Base):
    name: str = ""

    async def sell(
        self, item: str
    ) -> None:
        pass

    @property
    def open(self): return True

if os.name == "nt":
    def only_there(): pass
""",
        [
            "LIMIT = 3", "def add(a, b=1) -> int:", "class Shop(Base):", '    name: str = ""',
            "    async def sell(\n        self, item: str\n    ) -> None:", "    def open(self):",
            "    def only_there():",
        ],
    ),
    "a.js": (
        """\
function add(a, b) { return a + b }
class Shop extends Base {
  constructor(name) { super() }
  static open() {}
}
export default function main() {}
const twice = (a) => 2 * a;
""",
        [
            "function add(a, b)", "class Shop extends Base", "  constructor(name)",
            "  static open()", "export default function main()", "const twice = (a) => 2 * a;",
        ],
    ),
    "a.ts": (
        """\
export function add(a: number): number { return a }
export abstract class Shop<T> {
  private name: string = "";
  abstract open(): void;
  sell(item: T): boolean { return true }
}
export interface Item { id: string; price(): number }
export type Id = string | number;
enum Colour { Red, Green }
declare function log(text: string): void;
""",
        [
            "export function add(a: number): number", "export abstract class Shop<T>",
            '  private name: string = ""', "  abstract open(): void", "  sell(item: T): boolean",
            "export interface Item", "id: string", "price(): number",
            "export type Id = string | number;", "enum Colour",
            "declare function log(text: string): void;",
        ],
    ),
    "a.tsx": (
        "export const View = (p: Props) => <b>{p.name}</b>;\nfunction f(): JSX.Element { return <a/> }\n",
        ["export const View = (p: Props) => <b>{p.name}</b>;", "function f(): JSX.Element"],
    ),
    "a.go": (
        """\
package shop

type Shop struct {
	Name string
}

func (s *Shop) Sell(item string) (int, error) { return 0, nil }
func New() *Shop { return nil }

const (
	Limit = 3
)
""",
        [
            "type Shop struct {", "func (s *Shop) Sell(item string) (int, error)",
            "func New() *Shop", "\tLimit = 3",
        ],
    ),
    "a.rs": (
        """\
pub struct Shop { pub name: String }
impl Shop {
    pub fn new(name: &str) -> Self { todo!() }
}
impl<T> Sell for Till<T> where T: Coin {
    fn sell(&self) {}
}
pub trait Sell { fn sell(&self); }
pub enum Colour { Red }
const LIMIT: u32 = 3;
macro_rules! shop { () => {} }
""",
        [
            "pub struct Shop", "pub name: String", "impl Shop",
            "    pub fn new(name: &str) -> Self", "impl<T> Sell for Till<T> where T: Coin",
            "    fn sell(&self)", "pub trait Sell", "fn sell(&self);", "pub enum Colour",
            "const LIMIT: u32 = 3;", "macro_rules! shop { () => {} }",
        ],
    ),
    "a.c": (
        """\
#include <stdio.h>
#define LIMIT 3
struct shop { int id; };
typedef struct { int b; } item;
static int add(int a, int *b)
{
  return a;
}
char *name(void);
""",
        [
            "#define LIMIT 3", "struct shop", "int id;", "typedef struct { int b; } item;",
            "static int add(int a, int *b)", "char *name(void);",
        ],
    ),
    "a.hpp": (
        """\
namespace shop {
class Till : public Base {
 public:
  explicit Till(int size);
  int sell(int item) const { return 1; }
 private:
  int size_;
};
template <typename T> T twice(T a) { return a; }
}
""",
        [
            "namespace shop", "class Till : public Base", "  explicit Till(int size);",
            "  int sell(int item) const", "  int size_;", "template <typename T> T twice(T a)",
        ],
    ),
    "A.java": (
        """\
package shop;
public class Till extends Base implements Sell {
  private int size = 1;
  public Till(int size) { }
  public String sell(List<String> items) throws IOException { return null; }
  enum Colour { RED }
}
""",
        [
            "public class Till extends Base implements Sell", "  private int size = 1;",
            "  public Till(int size)",
            "  public String sell(List<String> items) throws IOException", "  enum Colour",
        ],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_signatures(name: str) -> None:
    text, expected = CASES[name]
    assert [one.text for one in signatures(text, Path(name))] == expected


def test_what_lies_in_what_is_known() -> None:
    text = (
        "class A:\n    class B:\n        def f(self): pass\n    def g(self): pass\ndef h(): pass\n"
    )
    found = [(one.name, one.depth) for one in signatures(text, Path("a.py"))]
    assert found == [("A", 0), ("B", 1), ("f", 2), ("g", 1), ("h", 0)]


@pytest.mark.parametrize("name", ["a.txt", "Makefile", "a.lua", "noend"])
def test_other_files_have_no_signatures(name: str) -> None:
    assert signatures("def f(): pass\n", Path(name)) == ()


@pytest.mark.parametrize("name", CASES)
def test_broken_texts_do_no_harm(name: str) -> None:
    """A file that is being edited is cut anywhere, and may hold any character."""
    text, _ = CASES[name]
    for end in range(0, len(text), 7):
        for one in signatures(text[:end] + "日本 \0 {(", Path(name)):
            assert one.name and one.text.strip()


def test_a_huge_file_is_read_in_part() -> None:
    text = "".join(f"def f{i}(): pass\n" for i in range(100_000))
    assert len(signatures(text, Path("a.py"))) == MAX_SIGNATURES

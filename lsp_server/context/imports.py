"""The files of a workspace that a source file imports, by reading its import statements.

Statements are found by patterns, because a text that is being written seldom parses; whether a file
is meant is decided by whether it is there. Packages from elsewhere resolve to nothing.
"""

import re
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

MAX_SCANNED_CHARS = 100_000
MAX_FILES_OF_PACKAGE = 8
# Each is looked for on the disk; a statement gives three to twenty.
MAX_CANDIDATES = 2_000

Resolver = Callable[[str, Path, Path], Iterator[Path]]


def imported_files(text: str, path: Path, root: Path) -> list[Path]:
    """In the order of the statements, each once; `path` is the text's own, below `root`."""
    resolve = _RESOLVERS.get(path.suffix.lower())
    if resolve is None:
        return []
    found: dict[Path, None] = {}
    for candidate in islice(resolve(text[:MAX_SCANNED_CHARS], path, root), MAX_CANDIDATES):
        if candidate != path and candidate not in found and candidate.is_file():
            found[candidate] = None
    return list(found)


def are_alike(first: Path, second: Path) -> bool:
    """Whether two files are of one language, or of two that import each other."""
    ends = first.suffix.lower(), second.suffix.lower()
    return ends[0] == ends[1] or (
        ends[0] in _RESOLVERS and _RESOLVERS[ends[0]] is _RESOLVERS.get(ends[1])
    )


_PYTHON = re.compile(
    r"^[ \t]*(?:from[ \t]+(?P<dots>\.*)(?P<module>[\w.]*)[ \t]+import[ \t]+"
    r"(?P<names>\([^)]{0,2000}\)|[^\n#]+)|import[ \t]+(?P<modules>[\w., \t]+))",
    re.MULTILINE,
)


def _python(text: str, path: Path, root: Path) -> Iterator[Path]:
    top = path.parent
    while top != root and (top / "__init__.py").exists():
        top = top.parent
    bases = dict.fromkeys((top, root, root / "src"))
    for match in _PYTHON.finditer(text):
        if match["modules"] is not None:
            for name in re.findall(r"[\w.]+(?=\s*(?:,|$|\s+as\b))", match["modules"]):
                for base in bases:
                    yield from _python_module(base.joinpath(*name.split(".")))
            continue
        parts = [part for part in match["module"].split(".") if part]
        names = re.findall(r"(?:^|[(,])\s*(\w+)", match["names"])
        if match["dots"]:
            home = path.parent
            for _ in range(len(match["dots"]) - 1):
                home = home.parent
            homes = [home]
        else:
            homes = list(bases)
        for home in homes:
            module = home.joinpath(*parts)
            for name in names:
                yield module / f"{name}.py"
            yield from _python_module(module)


def _python_module(module: Path) -> Iterator[Path]:
    yield module.parent / f"{module.name}.py"
    yield module.parent / f"{module.name}.pyi"
    yield module / "__init__.py"


_SCRIPT = re.compile(r"""(?:\bfrom|\bimport|\brequire\(|\bimport\()\s*(['"])(?P<name>[^'"\n]+)\1""")
_SCRIPT_ENDS = (".ts", ".tsx", ".js", ".jsx", ".mjs", ".cjs", ".mts", ".d.ts")


def _script(text: str, path: Path, root: Path) -> Iterator[Path]:
    for match in _SCRIPT.finditer(text):
        name = match["name"]
        if name.startswith("."):
            targets = [path.parent / name]
        elif name.startswith(("@/", "~/")):
            targets = [root / "src" / name[2:], root / name[2:]]
        else:
            continue  # A package.
        for target in targets:
            target = _without_dots(target)
            yield target
            # TypeScript names the file that it will become.
            if target.suffix in (".js", ".jsx", ".mjs"):
                yield target.with_suffix(target.suffix.replace("js", "ts"))
            for end in _SCRIPT_ENDS:
                yield target.parent / f"{target.name}{end}"
            for end in _SCRIPT_ENDS:
                yield target / f"index{end}"


_GO_MODULE = re.compile(r"^module[ \t]+(\S+)", re.MULTILINE)
_GO = re.compile(r'^(?:import)?[ \t]*(?:[\w.]+[ \t]+)?"([^"\n]+)"', re.MULTILINE)


def _go(text: str, path: Path, root: Path) -> Iterator[Path]:
    home = path.parent
    while not (home / "go.mod").is_file():
        if home == root or home == home.parent:
            return
        home = home.parent
    with (home / "go.mod").open(encoding="utf-8", errors="replace") as file:
        module = _GO_MODULE.search(file.read(MAX_SCANNED_CHARS))
    if module is None:
        return
    for name in _GO.findall(text):
        if name == module[1] or name.startswith(module[1] + "/"):
            folder = home / name[len(module[1]) + 1 :]
            files = sorted(folder.glob("*.go")) if folder.is_dir() else []
            yield from [one for one in files if not one.stem.endswith("_test")][
                :MAX_FILES_OF_PACKAGE
            ]


_RUST = re.compile(
    r"^[ \t]*(?:pub(?:\([^)]*\))?[ \t]+)?(?:mod[ \t]+(?P<mod>\w+)[ \t]*;"
    r"|use[ \t]+(?P<use>(?:crate|self|super)(?:::\w+)*))",
    re.MULTILINE,
)


def _rust(text: str, path: Path, root: Path) -> Iterator[Path]:
    is_folder = path.stem in ("mod", "lib", "main")
    own = path.parent if is_folder else path.parent / path.stem
    crate = path.parent
    while crate != root and not (crate.parent / "Cargo.toml").exists():
        crate = crate.parent
    for match in _RUST.finditer(text):
        if match["mod"] is not None:
            yield from _rust_module(own / match["mod"])
            continue
        head, *parts = match["use"].split("::")
        home = {"crate": crate, "self": own, "super": own.parent}[head]
        while parts and parts[0] == "super":
            home, parts = home.parent, parts[1:]
        # The last names may be items of the module that the others name.
        for n_parts in range(len(parts), 0, -1):
            yield from _rust_module(home.joinpath(*parts[:n_parts]))


def _rust_module(module: Path) -> Iterator[Path]:
    yield module.parent / f"{module.name}.rs"
    yield module / "mod.rs"


_INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]+"([^"\n]+)"', re.MULTILINE)
_HEADER_ENDS = (".h", ".hpp", ".hh", ".hxx")
_C_ENDS = (".c", ".cc", ".cpp", ".cxx")


def _c(text: str, path: Path, root: Path) -> Iterator[Path]:
    partners = _C_ENDS if path.suffix.lower() in _HEADER_ENDS else _HEADER_ENDS
    for end in partners:
        yield path.with_suffix(end)
    for name in _INCLUDE.findall(text):
        for base in (path.parent, root, root / "include", root / "src"):
            yield _without_dots(base / name)


_JAVA_PACKAGE = re.compile(r"^[ \t]*package[ \t]+([\w.]+)", re.MULTILINE)
_JAVA = re.compile(r"^[ \t]*import[ \t]+(?:static[ \t]+)?([\w.]+)", re.MULTILINE)


def _java(text: str, path: Path, root: Path) -> Iterator[Path]:
    bases = [root / "src" / "main" / "java", root / "src", root]
    package = _JAVA_PACKAGE.search(text)
    if package is not None:
        own = package[1].split(".")
        if path.parent.parts[-len(own) :] == tuple(own):
            bases.insert(0, path.parents[len(own)])
    for name in _JAVA.findall(text):
        parts = name.split(".")
        for n_parts in (len(parts), len(parts) - 1):  # Without the member of a static import.
            for base in bases:
                yield base.joinpath(*parts[: n_parts - 1], f"{parts[n_parts - 1]}.java")


def _without_dots(path: Path) -> Path:
    """``a/b/../c`` -> ``a/c``, so that one file has one name."""
    parts: list[str] = []
    for part in path.parts:
        if part == ".." and len(parts) > 1:
            parts.pop()
        else:
            parts.append(part)
    return Path(*parts)


_RESOLVERS: dict[str, Resolver] = {
    **dict.fromkeys((".py", ".pyi"), _python),
    **dict.fromkeys((".js", ".jsx", ".mjs", ".cjs", ".ts", ".tsx", ".mts", ".cts"), _script),
    ".go": _go,
    ".rs": _rust,
    **dict.fromkeys((*_HEADER_ENDS, *_C_ENDS), _c),
    ".java": _java,
}

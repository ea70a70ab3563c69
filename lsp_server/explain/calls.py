"""What code calls, where that is defined, and what it does to the world outside.

The world outside is recognised by the names of well-known functions: what is said is true when a
name means what it usually means, and a list of names is never complete.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from lsp_server.explain.facts import Call, CallOrigin, Place
from lsp_server.explain.languages import Language
from lsp_server.explain.quoting import one_line
from lsp_server.explain.scopes import Meaning, Scope
from lsp_server.explain.symbols import SymbolKind
from lsp_server.explain.syntax import Node

# What an effect is called, and the whole names of calls (or members) that have it, by language.
_EFFECTS: tuple[tuple[str, str], ...] = (
    (
        "reads the environment",
        r"os\.environ(\..*)?|os\.getenv|process\.env(\..*)?|(std::)?env::(var|vars|var_os|args)"
        r"|os\.(Getenv|LookupEnv|Environ)|(std::)?(secure_)?getenv|System\.getenv",
    ),
    (
        "writes files",
        r".*\.(write_text|write_bytes)|json\.dump|pickle\.dump|(fs(/promises|\.promises)?|"
        r"fs\.promises)\.(write|append)\w*|os\.(WriteFile|Create|CreateTemp)|ioutil\.WriteFile"
        r"|(std::)?fs::(write|File::create)|(.*::)?File::create|fwrite|fputs|fprintf"
        r"|(java\.nio\.file\.)?Files\.(write|writeString|newBufferedWriter|copy|move)",
    ),
    (
        "reads files",
        r".*\.(read_text|read_bytes)|json\.load|tomllib\.load|pickle\.load|io\.open"
        r"|(fs(/promises|\.promises)?)\.(read|open|createReadStream)\w*"
        r"|os\.(ReadFile|Open|ReadDir)|ioutil\.Read\w+|(std::)?fs::(read\w*|File::open)"
        r"|(.*::)?File::open|fread|fgets|(java\.nio\.file\.)?Files\.(read|lines|newBufferedReader)\w*"
        r"|os\.(listdir|walk|scandir|stat)|os\.path\.(exists|isfile|isdir|getsize|getmtime)"
        r"|glob\.i?glob",
    ),
    ("opens files", r"open|fopen|os\.open|os\.OpenFile|(std::)?(i|o)?fstream"),
    (
        "removes or moves files",
        r"os\.(remove|unlink|rename|replace|rmdir|removedirs|Remove|RemoveAll|Rename)"
        r"|shutil\.\w+|.*\.(unlink|rmdir)|(std::)?fs::(remove\w*|rename|copy)"
        r"|fs\.(rm|unlink|rename|rmdir)\w*|(java\.nio\.file\.)?Files\.delete\w*",
    ),
    (
        "makes folders",
        r"os\.(mkdir|makedirs|Mkdir|MkdirAll)|.*\.mkdir|fs\.mkdir\w*|(std::)?fs::create_dir\w*"
        r"|(java\.nio\.file\.)?Files\.createDirector\w+",
    ),
    (
        "prints",
        r"print|pprint\.pprint|sys\.(stdout|stderr)\.write|console\.\w+|process\.stdout\.write"
        r"|fmt\.(Print|Fprint)\w*|e?println|e?print|printf|puts|putchar|perror"
        r"|(std::)?(cout|cerr|clog)|System\.(out|err)\.\w+|click\.(echo|secho)",
    ),
    ("asks the user", r"input|getpass\.getpass|click\.prompt|scanf|(std::)?cin"),
    (
        "uses the network",
        r"requests\.\w+|httpx\.\w+|urllib\.request\.\w+|socket\.\w+|fetch|axios(\.\w+)?"
        r"|http\.(Get|Post|NewRequest|ListenAndServe)\w*|net\.(Dial|Listen)\w*|reqwest::.*"
        r"|(.*::)?Tcp(Stream|Listener)::\w+",
    ),
    (
        "starts processes",
        r"subprocess\.\w+|os\.(system|popen|exec\w*|spawn\w*|fork)|child_process\.\w+"
        r"|exec\.Command\w*|(std::process::)?Command::new|system|fork|execv\w*",
    ),
    ("waits", r"time\.sleep|asyncio\.sleep|time\.Sleep|(std::)?thread::sleep|Thread\.sleep|sleep"),
    (
        "depends on the time",
        r"time\.(time|monotonic|perf_counter|localtime|gmtime)|(datetime\.)*(datetime|date)\.(now|"
        r"utcnow|today)|Date\.now|performance\.now|time\.(Now|Since)|(.*::)?(Instant|SystemTime)::now"
        r"|System\.(currentTimeMillis|nanoTime)|(Local|Zoned)\w*\.now|Instant\.now|clock|time",
    ),
    (
        "depends on chance",
        r"random\.\w+|secrets\.\w+|uuid\.uuid[14]|Math\.random|rand\.\w+|rand::.*|rand|numpy\.random\..*"
        r"|crypto\.random\w+|os\.urandom",
    ),
    ("ends the process", r"sys\.exit|exit|_exit|abort|os\._exit|os\.Exit|process\.exit"
     r"|(std::)?process::exit|System\.exit|std::(exit|abort|terminate)"),
)  # fmt: skip
_EFFECT_PATTERNS = tuple((what, re.compile(pattern)) for what, pattern in _EFFECTS)
# Members that have an effect by being read.
_EFFECT_MEMBERS = re.compile(r"os\.environ|process\.env(\.\w+)?|(std::)?(cout|cerr|clog|cin)")
_WRITING_MODE = re.compile(r"""["'](?:[rwax]?[bt]?\+?)*[wax+][bt+]*["']""")
_INNER = frozenset(
    "parenthesized_expression non_null_expression await await_expression try_expression"
    " subscript subscript_expression index_expression array_access as_expression pointer_expression"
    " generic_function template_function reference_expression unary_expression".split()
)
_LEAVES = frozenset(
    "this super self type_identifier field_identifier package_identifier namespace_identifier"
    " primitive_type crate property_identifier private_property_identifier"
    " scoped_type_identifier qualified_type metavariable".split()
)


CalledNode = tuple[Node, str]
"""A call, and the path of what is called."""


def call_nodes(nodes: Iterable[Node], language: Language) -> Iterator[CalledNode]:
    """Calls in the order of the text, with the path of what is called."""
    for node in nodes:
        if node.type not in language.calls:
            continue
        path = called_path(node, language)
        if path:
            yield node, path


def called_path(node: Node, language: Language) -> str:
    """``json.loads``; empty where what is called has no name."""
    if node.type in language.members:
        return path_of(node, language, as_member=True)
    callee = node.get(language.calls[node.type])
    if callee is None:
        return ""
    if node.type == "composite_literal" and callee.type not in (
        "type_identifier",
        "qualified_type",
    ):
        return ""
    return path_of(callee, language)


def path_of(node: Node, language: Language, *, as_member: bool = False) -> str:
    """A dotted path; empty for expressions that are none."""
    kind = node.type
    if kind in language.members and (as_member or kind not in language.calls):
        object_field, name_field = language.members[kind]
        owner, name = node.get(object_field), node.get(name_field)
        if name is None:
            return ""
        joint = "::" if kind in ("scoped_identifier", "qualified_identifier") else "."
        base = path_of(owner, language) if owner is not None else ""
        if owner is not None and not base:
            base = _literal_name(owner)
        elif base.count("()") > 1 or base.startswith("…"):
            base = "…"  # `q.select()` and `q.select().from()`, then `….where()` and `….limit()`.
        text = path_of(name, language) or one_line(name.text)
        return f"{base}{joint}{text}" if base else text
    if kind in language.calls:
        path = called_path(node, language)
        return f"{path}()" if path else ""
    if kind in language.names or kind in _LEAVES:
        return node.text
    if kind in ("generic_type", "template_type"):
        return re.sub(r"<.*", "", node.text, flags=re.S)
    if kind in _INNER:
        inner = next(iter(node.named_children), None)
        path = path_of(inner, language) if inner is not None else ""
        is_item = "subscript" in kind or kind in ("index_expression", "array_access")
        return f"{path}[]" if path and is_item else path
    return ""


def root_of(path: str) -> str:
    """``a`` of ``a.b().c`` and of ``a::b``."""
    return re.split(r"[.:\[(]", path, maxsplit=1)[0]


def calls_of(calls: Sequence[CalledNode], scope: Scope) -> tuple[Call, ...]:
    """Each thing that is called, once, in the order of the text."""
    found: dict[str, Call] = {}
    for node, path in calls:
        # `super()` alone is half of a call.
        if path not in found and not (path == "super" and scope.language.name == "Python"):
            origin, detail = _origin(path, scope)
            found[path] = Call(text=path, line=node.line, origin=origin, detail=detail)
    return tuple(found.values())


def effects_of(
    nodes: Iterable[Node], calls: Sequence[CalledNode], scope: Scope
) -> tuple[Place, ...]:
    """Each effect at its first place, with the call that has it."""
    found: dict[str, Place] = {}

    def add(what: str, path: str, node: Node) -> None:
        found.setdefault(what, Place(text=f"{what} (`{path}`)", line=node.line))

    for node, path in calls:
        meaning = scope.meaning(root_of(path))
        if meaning is Meaning.UNKNOWN and scope.language.name not in ("C", "C++"):
            continue
        if meaning in (Meaning.PARAMETER, Meaning.LOCAL, Meaning.SELF):
            # Of a value of unknown type only a few names say enough.
            whole_name = "…." + path.rpartition(".")[2] if "." in path else ""
        elif scope.symbol(path) is not None and scope.symbol(path).kind is not SymbolKind.IMPORT:  # type: ignore[union-attr]
            continue
        else:
            whole_name = scope.qualified(path)
        what = _effect(whole_name)
        if what == "opens files":
            what = "writes files" if _WRITING_MODE.search(node.text) else "reads files"
        if what:
            add(what, path, node)
    for node in nodes:
        if node.type in scope.language.members and node.type not in scope.language.calls:
            path = scope.qualified(path_of(node, scope.language))
            if path and _EFFECT_MEMBERS.fullmatch(path) and (what := _effect(path)):
                add(what, path, node)
    return tuple(found.values())


def _effect(path: str) -> str:
    if not path:
        return ""
    path = path.removeprefix("node:")  # As Node.js calls its own modules.
    return next((what for what, pattern in _EFFECT_PATTERNS if pattern.fullmatch(path)), "")


def _origin(path: str, scope: Scope) -> tuple[CallOrigin, str]:
    root = root_of(path)
    is_bare = path == root
    if root == "super":
        return CallOrigin.OWN, ""
    match scope.meaning(root):
        case Meaning.SELF:
            methods = scope.symbols.methods.get(scope.owner, {})
            parts = re.split(r"\.|::", path)
            line = methods.get(parts[1]) if len(parts) == 2 else None
            return CallOrigin.OWN, f"line {line}" if line else ""
        case Meaning.PARAMETER | Meaning.LOCAL | Meaning.ENCLOSING:
            return (CallOrigin.PASSED_IN if is_bare else CallOrigin.VALUE), ""
        case Meaning.FIELD:
            return CallOrigin.VALUE, ""
        case Meaning.MODULE:
            symbol = scope.symbol(root)
            assert symbol is not None
            if symbol.kind is SymbolKind.IMPORT:
                whole_name = scope.qualified(path)
                return CallOrigin.IMPORTED, "" if whole_name == path else f"`{whole_name}`"
            if symbol.kind is SymbolKind.VARIABLE and not is_bare:
                return CallOrigin.VALUE, ""
            methods = scope.symbols.methods.get(root, {})
            tail = re.split(r"\.|::", path)
            line = methods.get(tail[1], symbol.line) if len(tail) > 1 else symbol.line
            return CallOrigin.HERE, f"line {line}"
        case Meaning.BUILTIN:
            return (CallOrigin.VALUE if "()" in path else CallOrigin.BUILTIN), ""
    own = scope.symbols.methods.get(scope.owner, {})
    if is_bare and path in own:
        return CallOrigin.OWN, f"line {own[path]}"
    if not root or root in ('"…"', "…"):
        return CallOrigin.VALUE, ""
    return CallOrigin.UNKNOWN, ""


def _literal_name(node: Node) -> str:
    """How the object of a call is shown that has no name of its own."""
    return '"…"' if "string" in node.type else "…"

"""What is known about a piece of code, as data. Everything here was read off its syntax tree."""

from dataclasses import dataclass
from enum import StrEnum


class CallOrigin(StrEnum):
    """Where what is called is defined; the values are the headings that a reader sees."""

    HERE = "of this file"
    OWN = "of its own object"
    IMPORTED = "imported"
    BUILTIN = "built in"
    PASSED_IN = "passed in or made here"
    VALUE = "methods of values"
    UNKNOWN = "not defined in this file"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A fact and its line, counted from 1."""

    text: str
    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One parameter. Empty strings where the source says nothing."""

    name: str
    type: str = ""
    default: str = ""
    note: str = ""
    """What is special about it, e.g. "only by keyword"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What is called, at its first call."""

    text: str
    line: int
    origin: CallOrigin
    detail: str = ""
    """The line of a definition in this file, or the module of an imported name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One line of the control flow in words."""

    depth: int
    text: str
    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BodyFacts:
    """What statements do."""

    returns: tuple[Place, ...]
    """Distinct values, at their first return; empty text for a return without a value."""
    may_fall_off: bool
    """Whether the end can be reached without a return."""
    yields: tuple[Place, ...]
    raises: tuple[Place, ...]
    catches: tuple[Place, ...]
    reads: tuple[Place, ...]
    writes: tuple[Place, ...]
    effects: tuple[Place, ...]
    """On the world outside the program: files, environment, network, processes ..."""
    calls: tuple[Call, ...]
    """Those of functions that are defined inside too."""
    has_functions: bool
    """Whether some of the calls are theirs."""
    flow: tuple[Step, ...]
    costs: tuple[Place, ...]
    n_loops: int
    n_branches: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionFacts:
    """A function or method."""

    name: str
    header: str
    """As in the source up to the body, on one line."""
    words: tuple[str, ...]
    """What it is called beside "function": async, static, generator ..."""
    owner: str
    decorators: tuple[str, ...]
    parameters: tuple[Parameter, ...]
    return_type: str
    doc: str
    first_line: int
    last_line: int
    body: BodyFacts | None
    """None for a declaration without a body."""
    error_line: int | None
    """The first line that could not be read, if there is one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One line of an outline."""

    title: str
    summary: str
    """One sentence, from its documentation or else from its body."""
    is_documented: bool
    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OutlineFacts:
    """A class or a whole file."""

    kind: str
    """"class", "file" and the like."""
    name: str
    header: str
    doc: str
    imports: tuple[str, ...]
    fields: tuple[Parameter, ...]
    members: tuple[Member, ...]
    first_line: int
    last_line: int
    error_line: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FragmentFacts:
    """Selected statements."""

    inside: str
    """The function that they stand in, or empty."""
    first_line: int
    last_line: int
    uses: tuple[str, ...]
    """Variables that the statements take from the code before them."""
    leaves: tuple[str, ...]
    """Variables that they set and that the code after them reads."""
    body: BodyFacts
    error_line: int | None


Facts = FunctionFacts | OutlineFacts | FragmentFacts

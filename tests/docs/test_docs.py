"""Guards what the pages and the help say, short of running it (tests/e2e/test_docs.py does that).

A failure would be a reader who types an option that is not there, follows a link into nothing, or
finds a number in the README that nobody can measure again.
"""

import functools
import json
import re
from pathlib import Path

import click
import pytest

from bench import readme_table, results
from tests.docs import command_tree, pages
from tests.docs.command_tree import Known
from tests.lsp_client import REPOSITORY

# Options in prose that belong to programs of others.
FOREIGN_OPTIONS = {
    "--startuptime",  # Neovim
    "--no-build-isolation",  # pip
}
MEASURED = re.compile(r"\d ?(ms|us|%)(\W|$)|\d times |\d (bits|nats)")
SOURCES = re.compile(r"bench/\w+\.(py|md)|starling eval|MODEL_CARD\.md|train/LOG\.md")
EVERY_PAGE = pytest.mark.parametrize("page", pages.pages(), ids=pages.name_of)


@functools.cache
def known() -> dict[str, Known]:
    return command_tree.all_commands()


@pytest.mark.parametrize("path", command_tree.all_commands())
def test_help_is_complete(path: str) -> None:
    command = known()[path]
    assert (command.command.help or "").strip(), "says nothing"
    options = [one for one in command.command.params if isinstance(one, click.Option)]
    assert [one.opts for one in options if not one.hidden and not one.help] == []
    assert command.examples, "has no example"
    for example in command.examples:
        check_line(example)


@pytest.mark.parametrize("path", command_tree.all_commands())
def test_help_fits_a_terminal(path: str) -> None:
    """A summary that ends in "..." says nothing; an option in two lines cannot be copied."""
    command = command_tree.all_commands()[path].command
    said = command.get_help(click.Context(command, info_name=path, terminal_width=80))
    assert not re.search(r"^ .*\w\.\.\.$", said, re.MULTILINE), said
    examples = said.partition("Example")[2]
    assert not re.search(r" --[a-z]*-\n", examples), said
    shown = re.sub(r" *\\\n *", " ", said)
    for example in known()[path].examples:
        assert re.sub(" +", " ", example) in re.sub(" +", " ", shown), f"broken in two: {example}"


def test_help_names_the_exit_statuses() -> None:
    assert "0 fine, 1 a problem was found, 2 wrong use" in known()["starling"].words
    assert "0 fine or found, 1 a problem or not found" in known()["starling attribute"].words


@EVERY_PAGE
def test_commands_stand_in_blocks_that_are_tried(page: Path) -> None:
    for block in pages.blocks(page):
        if block.language == "sh":
            continue
        heads = {line.split(" ")[0] for line in block.text.splitlines()}
        assert heads.isdisjoint({"starling", "make", "torchrun"}), f"{block.place}: mark it sh"
        assert "python bench/" not in block.text, f"{block.place}: mark it sh"


@EVERY_PAGE
def test_what_is_typed_exists(page: Path) -> None:
    for block in pages.blocks(page):
        if block.language != "sh":
            continue
        for words in block.commands():
            check_words(words, block.place)
        for script in re.findall(r"\bbench/\w+\.py\b", block.text):
            assert (REPOSITORY / script).is_file(), f"{block.place}: {script}"


@EVERY_PAGE
def test_inline_code_names_what_exists(page: Path) -> None:
    options = {option for command in known().values() for option in command.options}
    options |= options_of_benches() | FOREIGN_OPTIONS
    for code in pages.inline_code(page):
        place = f"{pages.name_of(page)}: `{code}`"
        if code.startswith("starling "):
            check_line(code, place)
        elif code.startswith("-"):
            assert code.split()[0].partition("=")[0] in options, place
        for script in re.findall(r"\bbench/\w+\.py\b", code):
            assert (REPOSITORY / script).is_file(), place
        if found := re.match(r"make ([a-z]+)$", code):
            assert re.search(rf"^{found[1]}:", makefile(), re.MULTILINE), place


@EVERY_PAGE
def test_links_lead_somewhere(page: Path) -> None:
    for link in pages.links(page):
        if link.startswith(("https://", "http://")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{pages.name_of(page)} links to {link}"
        if anchor and target.suffix == ".md":
            assert anchor in pages.anchors(target), f"{pages.name_of(page)} links to {link}"


def test_every_page_can_be_found_from_the_index() -> None:
    index = REPOSITORY / "docs" / "README.md"
    linked = {(index.parent / link.partition("#")[0]).resolve() for link in pages.links(index)}
    missing = {page.name for page in (REPOSITORY / "docs").glob("*.md")} - {
        path.name for path in linked if path.parent == index.parent
    }
    assert missing <= {"README.md"}
    assert "docs/README.md" in pages.links(REPOSITORY / "README.md")


def test_the_readme_says_what_the_bundle_was_measured_at() -> None:
    report = json.loads(readme_table.EVALUATION.read_text("utf-8"))
    assert readme_table.table(report) in readme(), "run python bench/readme_table.py"


def test_each_measured_number_of_the_readme_says_where_it_comes_from() -> None:
    paragraphs = pages.prose(REPOSITORY / "README.md").split("\n\n")
    for number, paragraph in enumerate(paragraphs):
        # A table's source stands in the paragraph above it.
        if MEASURED.search(paragraph):
            assert SOURCES.search("".join(paragraphs[max(0, number - 1) : number + 1])), paragraph


def test_the_page_of_results_is_made_of_the_results() -> None:
    stored = results.stored()
    page = results.PAGE.read_text("utf-8")
    for result in stored.values():
        assert results.section(result) in page, "run python bench/results.py --render"
    names = {script.name for script in results.SCRIPTS}
    assert stored.keys() <= names
    scripts = {path.stem for path in (REPOSITORY / "bench").glob("*.py")}
    assert names <= scripts


def check_line(line: str, place: str = "help") -> None:
    """Of a pipeline the parts that are ours."""
    block = pages.Block(
        page=REPOSITORY / "README.md", line=0, language="sh", text=line, status=0, not_run=""
    )
    for words in block.commands():
        check_words(words, place)


def check_words(words: list[str], place: str) -> None:
    while words and re.match(r"[A-Z_]+=", words[0]):
        words = words[1:]
    if words[:1] == ["torchrun"] and "starling" in words:
        words = words[words.index("starling") :]
    if words[:1] == ["starling"] and "VERB" not in words:
        assert command_tree.unknown_options(words, known()) == [], f"{place}: {' '.join(words)}"
    if words[:1] == ["make"]:
        for target in (word for word in words[1:] if "=" not in word):
            assert re.search(rf"^{target}:", makefile(), re.MULTILINE), f"{place}: make {target}"


@functools.cache
def options_of_benches() -> set[str]:
    scripts = sorted((REPOSITORY / "bench").glob("*.py"))
    return {
        option
        for script in scripts
        for option in re.findall(r'"(--?[a-z][\w-]*)"', script.read_text("utf-8"))
    }


@functools.cache
def makefile() -> str:
    return (REPOSITORY / "Makefile").read_text("utf-8")


@functools.cache
def readme() -> str:
    return (REPOSITORY / "README.md").read_text("utf-8")

"""Guards what holds between sources and files: whose licence a file has, who stands for duplicates,
what caps let through, what opting out reaches, and that names cannot collide.

A failure would mean training on code under another project's licence, or losing code for nothing.
"""

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from attribution.swhid import content_swhid
from tests.train.corpus_project import LOCAL, SETTINGS, code
from train.corpus.choose import not_sampled, over_language_share, over_project_cap
from train.corpus.pipeline import CorpusPaths, build_corpus
from train.corpus.prepare import FACTS, KINDS
from train.corpus.raw_file import Kind
from train.corpus.source_file import digest_u64, read_rows, read_shards
from train.errors import CorpusError, LicenceRefused, RecipeError, SourceError
from train.recipe_file import load_recipe
from train.samples.shards import write_tokens
from train.samples.tokenizer import decode, train_tokenizer

PLAIN = SETTINGS.replace('opt_out = "opt-out.txt"\n', "").replace(
    'decontaminate = ["benchmark.jsonl"]\n', ""
)
MIT = """MIT License

Copyright (c) 2020 Somebody

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and
associated documentation files (the "Software"), to deal in the Software without restriction,
including without limitation the rights to use, copy, modify, merge, publish, distribute,
sublicense, and/or sell copies of the Software, and to permit persons to whom the Software is
furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial
portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT
NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND
NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES
OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN
CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
"""


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def build(root: Path, sources: str, settings: str = PLAIN) -> dict[str, Any]:
    (root / "mine.toml").write_text(settings + sources, encoding="utf-8")
    recipe = load_recipe(str(root / "mine.toml"))
    summary = build_corpus(recipe, root / "out", cluster=LOCAL, say=lambda _: None)
    assert summary is not None
    return summary


def fates(root: Path) -> dict[str, str]:
    rows = read_rows(CorpusPaths(root=root / "out").manifest)
    return {f"{r['origin']}/{r['path']}": r["reason"] or r["verdict"] for r in rows}


def git(root: Path, *arguments: str) -> None:
    subprocess.run(
        ["git", "-c", "user.name=A Person", "-c", "user.email=a@corp.io", "-C", str(root),
         *arguments],
        check=True, capture_output=True,
    )  # fmt: skip


def content_list(root: Path, files: dict[str, tuple[str, str]]) -> None:
    rows = ["swhid,path,origin"]
    (root / "store").mkdir()
    for path, (origin, text) in files.items():
        swhid = content_swhid(text.encode())
        (root / "store" / swhid.rpartition(":")[2]).write_text(text)
        rows.append(f"{swhid},{path},{origin}")
    (root / "table.csv").write_text("\n".join(rows) + "\n")


CONTENTS = '[[source]]\ncontents = "table.csv"\nstore = "store"\nname = "list"\n'


def test_a_licence_never_passes_to_another_project_of_the_list(tmp_path: Path) -> None:
    good, evil = "https://github.com/good/mit", "https://github.com/evil/closed"
    content_list(
        tmp_path,
        {
            "LICENSE": (good, MIT),
            "good.py": (good, code("good")),
            "secret.py": (evil, code("secret")),
        },
    )
    build(tmp_path, CONTENTS)
    found = fates(tmp_path)
    assert found[f"{good}/good.py"] == "kept" and found[f"{evil}/secret.py"] == "no licence"


def test_opting_out_reaches_contents_git_and_commits(tmp_path: Path) -> None:
    repository = tmp_path / "shop"
    write(repository, {"a.py": code("a"), "b.py": code("b"), "LICENSE": MIT})
    git(repository.parent, "init", "-q", "shop")
    git(repository, "add", ".")
    git(repository, "commit", "-qm", "Add the first shelves of the shop")
    (repository / "a.py").write_text(code("a") + "\n\nSHELVES = ['one', 'two', 'three']\n")
    git(repository, "commit", "-qam", "Name the shelves of the shop one by one")
    other = "https://github.com/Other/repo"
    content_list(tmp_path, {"c.py": (other, code("c")), "LICENSE": (other, MIT)})
    (tmp_path / "out.txt").write_text("owner:other\nrepo:acme/shop\n")
    sources = (
        CONTENTS
        + '[[source]]\ngit = "shop"\nname = "acme/shop"\n'
        + '[[source]]\ncommits = "shop"\nname = "acme/shop"\n'
        + '[[source]]\nfolder = "rest"\nname = "rest"\nlicence = "MIT"\n'
    )
    write(tmp_path / "rest", {"kept.py": code("kept")})
    build(tmp_path, sources, PLAIN.replace("[tokenizer]", 'opt_out = "out.txt"\n[tokenizer]'))
    found = {name: fate for name, fate in fates(tmp_path).items() if name.endswith(".py")}
    assert found.pop("folder:rest/kept.py") == "kept"
    assert found and all(":" in fate for fate in found.values()), found
    page = (tmp_path / "out" / "report.html").read_text() + json.dumps(
        json.loads((tmp_path / "out" / "corpus.json").read_text())
    )
    assert "def c_0" not in page and "def a_0" not in page


def test_layouts_keep_their_special_tokens_and_code_gets_none(tmp_path: Path) -> None:
    repository = tmp_path / "shop"
    write(repository, {"a.py": code("a"), "LICENSE": MIT})
    git(tmp_path, "init", "-q", "shop")
    git(repository, "add", ".")
    git(repository, "commit", "-qm", "Add the first shelves of the shop")
    (repository / "a.py").write_text(code("a") + "\n\nSHELVES = ['<issue_start>', 'two']\n")
    (repository / "b.py").write_text(code("b", 20))
    (repository / "m.py").write_text(code("m") + "\n\nMARK = '<commit_msg>'\n")
    git(repository, "add", ".")
    git(repository, "commit", "-qm", "Name the shelves of the shop one by one")
    (repository / "b.py").write_text(code("b", 20).replace("total", "amount"))
    git(repository, "commit", "-qam", "Call the totals of the shop amounts")
    issue = {
        "number": 7, "title": "Shelves fall down", "state": "closed", "user": {"login": "jane"},
        "body": "When I put more than four books on a shelf it falls down. " * 8,
        "html_url": "https://github.com/acme/shop/issues/7", "created_at": "2020-01-01T00:00:00Z",
        "comments": [{"user": {"login": "bob"}, "body": "The brackets are too short. " * 8,
                      "created_at": "2020-01-02T00:00:00Z"}],
        "repository_url": "https://api.github.com/repos/acme/shop",
        "url": "https://api.github.com/repos/acme/shop/issues/7",
    }  # fmt: skip
    (tmp_path / "issues.jsonl").write_text(json.dumps(issue) + "\n")
    summary = build(
        tmp_path,
        '[[source]]\ngit = "shop"\nname = "acme/shop"\n[[source]]\ncommits = "shop"\n'
        'name = "acme/shop"\n[[source]]\nissues = "issues.jsonl"\nname = "dump"\nlicence = "MIT"\n',
    )
    assert len(summary["swhids"]["git:acme/shop"]) == 2
    files = list(read_shards(tmp_path / "out" / "corpus"))
    kinds = {file.kind: file for file in files}
    assert {"file", "commit", "issue"} <= set(kinds), fates(tmp_path)
    tokenizer = train_tokenizer([file.text for file in files], 400)
    shard = write_tokens(
        tmp_path / "tokens.bin", files, tokenizer, tokenizer_sha256="0", corpus_id="0"
    )
    for idx, file in enumerate(files):
        ids = shard.document(idx).tolist()
        assert decode(tokenizer, ids) == file.text
        has_special = any(token_id < 37 for token_id in ids)
        assert has_special == (file.kind != "file"), file.path


def test_a_whole_file_stands_for_the_commits_that_quote_it(tmp_path: Path) -> None:
    repository = tmp_path / "shop"
    write(repository, {"a.py": code("a"), "LICENSE": MIT})
    git(tmp_path, "init", "-q", "shop")
    git(repository, "add", ".")
    git(repository, "commit", "-qm", "Add the first shelves of the shop")
    for n in range(12):
        (repository / "a.py").write_text(code("a") + f"\n\nNUMBER_OF_SHELVES = {n}\n")
        git(repository, "commit", "-qam", f"Change the number of all shelves to exactly {n}")
    build(
        tmp_path,
        '[[source]]\ngit = "shop"\nname = "shop"\n[[source]]\ncommits = "shop"\nname = "shop"\n',
    )
    assert fates(tmp_path)["git:shop/a.py"] == "kept"


def test_names_that_look_alike_on_disk_do_not_collide(tmp_path: Path) -> None:
    names = ["x/y", "x-y", "x:y", "ü", "n" * 300]
    for i, _ in enumerate(names):
        write(tmp_path / f"f{i}", {"a.py": code(f"name{i}_")})
    sources = "".join(
        f'[[source]]\nfolder = "f{i}"\nname = "{name}"\nlicence = "MIT"\n'
        for i, name in enumerate(names)
    )
    assert build(tmp_path, sources)["n_files"] == len(names)
    assert len(list(read_shards(tmp_path / "out" / "corpus"))) == len(names)


def test_one_project_is_not_both_held_out_and_trained_on(tmp_path: Path) -> None:
    pins = '[[{}]]\npin = "{}"\nlicence = "MIT"\n'
    for names in (("Foo_Bar==1", "foo-bar==2"), ("foo.bar==1", "foo-bar==1")):
        text = PLAIN + pins.format("held_out", names[0]) + pins.format("source", names[1])
        (tmp_path / "mine.toml").write_text(text)
        with pytest.raises(RecipeError, match="pypi:foo-bar twice"):
            load_recipe(str(tmp_path / "mine.toml"))


def test_a_stated_licence_that_is_not_permissive_is_refused_first(tmp_path: Path) -> None:
    write(tmp_path / "a", {"a.py": code("a")})
    with pytest.raises((LicenceRefused, SourceError), match="GPL-3.0-only, which is not on"):
        build(tmp_path, '[[source]]\nfolder = "a"\nname = "a"\nlicence = "GPL-3.0-only"\n')


def test_nothing_kept_is_said_and_leaves_the_older_corpus(tmp_path: Path) -> None:
    source = '[[source]]\nfolder = "a"\nname = "a"\nlicence = "MIT"\n'
    write(tmp_path / "a", {"a.py": code("a")})
    build(tmp_path, source)
    before = (tmp_path / "out" / "corpus.json").read_bytes()
    (tmp_path / "a" / "a.py").write_text("x = 1\n")
    with pytest.raises(CorpusError, match="no file was kept: .*too short 1"):
        build(tmp_path, source)
    (tmp_path / "a" / "a.py").unlink()
    with pytest.raises(CorpusError, match="the sources hold none"):
        build(tmp_path, source)
    assert (tmp_path / "out" / "corpus.json").read_bytes() == before
    assert len(list(read_shards(tmp_path / "out" / "corpus"))) == 1


def test_the_corpus_is_no_source_of_itself(tmp_path: Path) -> None:
    write(tmp_path, {"a.py": code("a")})
    source = '[[source]]\nfolder = "."\nname = "here"\nlicence = "MIT"\n'
    build(tmp_path, source)
    seen = set(fates(tmp_path))
    assert seen == {"folder:here/a.py", "folder:here/mine.toml"}
    said: list[str] = []
    recipe = load_recipe(str(tmp_path / "mine.toml"))
    build_corpus(recipe, tmp_path / "out", cluster=LOCAL, say=said.append)
    assert any("nothing changed" in line for line in said)


@pytest.mark.parametrize(
    ("first_line", "body", "reason"),
    [
        ("# coding: unicode_escape", b"x = '\xff \\ud800'\n", "not UTF-8, nor declared"),
        ("# coding: cp037", b"x = '\xff'\n", "not UTF-8, nor declared"),
        ("# coding: rot13", b"x = '\xff'\n", "not UTF-8, nor declared"),
        ("# coding: idna", b"x = '\xff'\n", "not UTF-8, nor declared"),
        ("# vim: set fileencoding=shift_jis :", "x = '日本'\n".encode("shift_jis"), "kept"),
        ("# coding: koi8-r", "x = 'привет'\n".encode("koi8-r"), "kept"),
    ],
)
def test_declared_encodings(tmp_path: Path, first_line: str, body: bytes, reason: str) -> None:
    write(tmp_path / "a", {"other.py": code("other")})
    (tmp_path / "a" / "a.py").write_bytes(first_line.encode() + b"\n" + body + code("a").encode())
    build(tmp_path, '[[source]]\nfolder = "a"\nname = "a"\nlicence = "MIT"\n')
    assert fates(tmp_path)["folder:a/a.py"] == reason


def facts_of(*rows: dict[str, Any]) -> np.ndarray:
    facts = np.zeros(len(rows), FACTS)
    for i, row in enumerate(rows):
        facts[i]["order"] = i
        for name, value in row.items():
            facts[i][name] = digest_u64(value) if isinstance(value, str) else value
    return facts


def everything(facts: np.ndarray) -> np.ndarray:
    return np.ones(facts.size, np.bool_)


def test_a_file_that_does_not_fit_keeps_no_smaller_one_out() -> None:
    facts = facts_of(*({"n_bytes": n, "origin": "a"} for n in (3000, 10, 1995, 10, 10)))
    over = over_project_cap(facts, everything(facts), 2000)
    assert over.tolist() == [True, False, True, False, False]
    sizes = ((3000, "Python"), (5000, "C"), (900, "C"), (200, "C"))
    others = facts_of(*({"n_bytes": n, "language": language} for n, language in sizes))
    over = over_language_share(others, everything(others), "Python", 0.25)
    assert over.tolist() == [False, True, False, True]


def test_caps_take_code_before_tests_and_count_each_project_alone() -> None:
    facts = facts_of(
        {"n_bytes": 60, "origin": "a", "is_test": True},
        {"n_bytes": 60, "origin": "b"},
        {"n_bytes": 60, "origin": "a"},
    )
    assert over_project_cap(facts, everything(facts), 100).tolist() == [True, False, False]
    nobody = np.zeros(3, np.bool_)
    assert not over_project_cap(facts, nobody, 0).any()


def test_of_many_pull_requests_and_commits_some_are_drawn() -> None:
    for n_requests, n_kept in ((1, 1), (2, 2), (10, 8), (1000, 100), (1001, 100), (2000, 100)):
        kind = KINDS.index(Kind.PULL_REQUEST)
        facts = facts_of(*({"kind": kind, "group": "r"} for _ in range(n_requests)))
        assert (~not_sampled(facts, everything(facts))).sum() == n_kept, n_requests
    kind = KINDS.index(Kind.COMMIT)
    facts = facts_of(*({"kind": kind, "group": name} for name in "aabbb"), {"group": "a"})
    assert not_sampled(facts, everything(facts)).tolist() == [
        False, True, False, True, True, False,
    ]  # fmt: skip

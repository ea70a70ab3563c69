"""Guards the opt-out list: who is named in it is not in the corpus, however the name is spelt.

A failure would mean training on code whose author said no, or a list that is quietly not read.
"""

import json
import pickle
from pathlib import Path

import pytest

from train.corpus import optout as optout_module
from train.corpus.optout import OptOut
from train.errors import RecipeError

SHA = "0123456789abcdef0123456789abcdef01234567"
LIST = f"""\
# people who asked
owner:Some-Body          # all of it
repo:Acme/Rocket.js
package:My_Package.Name
path:pypi:Foo_Bar/src/**
path:github:acme/tools/docs/*.md
path:git:thing/**/secret?.py
path:folder:work/private
path:git:Acme/Docs/Src/*.py
path:https://git.example.org/A/b/x/**
swhid:swh:1:cnt:{SHA}
SWHID: swh:1:rev:{SHA};origin=https://example.org/x
"""


def listed(tmp_path: Path, text: str, name: str = "optout.txt") -> OptOut:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return OptOut.load(path)


@pytest.mark.parametrize(
    ("origin", "entry"),
    [
        ("github:some-body/anything", "owner:some-body"),
        ("github:SOME-BODY/Anything", "owner:some-body"),
        ("gitlab:some-body/anything", "owner:some-body"),
        ("github:somebody/anything", ""),
        ("github:other/some-body", ""),
        ("pypi:some-body", ""),
        ("github:acme/rocket.js", "repo:acme/rocket.js"),
        ("github:Acme/Rocket.js.git", "repo:acme/rocket.js"),
        ("github:acme/rocket.jsx", ""),
        ("github:acme/rocketXjs", ""),
        ("pypi:my-package-name", "package:my-package-name"),
        ("pypi:My.Package__Name", "package:my-package-name"),
        ("pypi:my-package", ""),
        ("folder:my-package-name", ""),
        ("https://github.com/Some-Body/anything", "owner:some-body"),
        ("https://github.com/some-body", ""),
        ("https://github.com/acme/Rocket.js.git", "repo:acme/rocket.js"),
        ("https://www.github.com/acme/rocket.js/?tab=readme#top", "repo:acme/rocket.js"),
        ("https://github.com/acme/rocket.js/tree/main/src", "repo:acme/rocket.js"),
        ("https://github.com/acme/rocket", ""),
        ("http://gitlab.com/some-body/group/thing/-/tree/main", "owner:some-body"),
        ("https://git.example.org:8443/acme/rocket.js", "repo:acme/rocket.js"),
        ("https://git.example.org/~some-body/thing", "owner:some-body"),
        ("git://example.org/acme/rocket.js.git/", "repo:acme/rocket.js"),
        ("git+ssh://git@example.org/acme/rocket.js", "repo:acme/rocket.js"),
        ("git@github.com:acme/rocket.js.git", "repo:acme/rocket.js"),
        ("git:https://github.com/acme/rocket.js", "repo:acme/rocket.js"),
        ("git:git@github.com:acme/rocket.js.git", "repo:acme/rocket.js"),
        ("git:github.com/acme/rocket.js", "repo:acme/rocket.js"),
        ("git:forge.example/acme/rocket.js", "repo:acme/rocket.js"),
        ("git:Acme/Rocket.js", "repo:acme/rocket.js"),
        ("commits:acme/rocket.js", "repo:acme/rocket.js"),
        ("issues:acme/rocket.js", "repo:acme/rocket.js"),
        ("pull_requests:acme/rocket.js", "repo:acme/rocket.js"),
        ("folder:acme/rocket.js", "repo:acme/rocket.js"),
        ("archive:some-body/x", "owner:some-body"),
        ("archive:acme/rocket.js/part", "repo:acme/rocket.js"),
        ("git:rocket.js", ""),
        ("git:some-body", ""),
        ("https://pypi.example.org/project/My.Package.Name/", "package:my-package-name"),
        ("https://example.org/project/my-package-name/", ""),
        ("", ""),
        (":", ""),
        ("https://", ""),
    ],
)
def test_sources(tmp_path: Path, origin: str, entry: str) -> None:
    assert listed(tmp_path, LIST).excludes_source(origin, "1.0") == entry


@pytest.mark.parametrize(
    ("origin", "path", "entry"),
    [
        ("pypi:foo-bar", "src/a.py", "path:pypi:foo-bar/src/**"),
        ("pypi:FOO.bar", "src/deep/a.py", "path:pypi:foo-bar/src/**"),
        ("pypi:foo-bar", "tests/src/a.py", ""),
        ("pypi:foo-bar-baz", "src/a.py", ""),
        ("github:Acme/Tools", "docs/a.md", "path:github:acme/tools/docs/*.md"),
        ("github:acme/tools", "docs/deep/a.md", ""),
        ("github:acme/tools", "docs/aXmd", ""),
        ("git:thing", "secret1.py", "path:git:thing/**/secret?.py"),
        ("git:thing", "a/b/secretX.py", "path:git:thing/**/secret?.py"),
        ("git:thing", "a/secret10.py", ""),
        ("folder:work", "private", "path:folder:work/private"),
        ("folder:work", "private/x.py", "path:folder:work/private"),
        ("folder:work", "privateer.py", ""),
        ("https://github.com/Acme/Tools.git", "docs/a.md", "path:github:acme/tools/docs/*.md"),
        ("git:acme/tools", "docs/a.md", "path:github:acme/tools/docs/*.md"),
        ("archive:acme/tools", "docs/a.md", "path:github:acme/tools/docs/*.md"),
        ("gitlab:acme/tools", "docs/a.md", ""),
        ("https://example.org/acme/tools", "docs/a.md", ""),
        ("commits:acme/tools", "commit/0123456789ab/docs/a.md",
         "path:github:acme/tools/docs/*.md"),
        ("commits:thing", "commit/0123456789ab/a/secret1.py", "path:git:thing/**/secret?.py"),
        ("commits:thing", "commit/0123456789ab/a/public.py", ""),
        ("git:acme/docs", "commit/0123456789ab/Src/a.py", ""),
        ("git:acme/docs", "Src/a.py", "path:git:acme/Docs/Src/*.py"),
        ("git:ACME/docs", "Src/a.py", "path:git:acme/Docs/Src/*.py"),
        ("git:acme/docs", "src/a.py", ""),
        ("https://git.example.org/a/b.git", "x/y.py", "path:git.example.org:a/b/x/**"),
    ],
)  # fmt: skip
def test_paths(tmp_path: Path, origin: str, path: str, entry: str) -> None:
    assert listed(tmp_path, LIST).excludes_file(origin, path, "") == entry


def test_content_and_revision_ids(tmp_path: Path) -> None:
    optout = listed(tmp_path, LIST)
    cnt, rev = f"swh:1:cnt:{SHA}", f"swh:1:rev:{SHA}"
    assert optout.excludes_file("pypi:x", "a.py", cnt) == f"swhid:{cnt}"
    assert optout.excludes_file("pypi:x", "a.py", cnt[:-1] + "0") == ""
    assert optout.excludes_source("git:x", "", (f"{rev};path=/a",)) == f"swhid:{rev}"
    assert optout.excludes_source("git:x", SHA) == f"swhid:{rev}"
    assert optout.excludes_source("git:x", "", (f"swh:1:dir:{SHA}",)) == ""


def test_ids_that_nothing_can_match_are_counted(tmp_path: Path) -> None:
    ids = [f"swh:1:{kind}:{SHA}" for kind in ("dir", "rel", "snp")]
    optout = listed(tmp_path, "".join(f"swhid:{swhid}\n" for swhid in ids))
    assert optout == OptOut(swhids=frozenset(ids))
    assert optout.excludes_source("git:x", "", (ids[0], f"swh:1:rev:{SHA}")) == f"swhid:{ids[0]}"


@pytest.mark.parametrize(
    ("line", "entry"),
    [
        ("owner:https://github.com/Some-Body/", "owner:some-body"),
        ("owner:~some-body", "owner:some-body"),
        ("repo:https://gitlab.com/Acme/Team/Shop.git", "repo:acme/team/shop"),
        ("repo:git@github.com:Acme/Shop.git", "repo:acme/shop"),
        ("repo:github.com/acme/shop/", "repo:acme/shop"),
        ("repo:github:acme/shop", "repo:acme/shop"),
    ],
)
def test_spellings_of_entries(tmp_path: Path, line: str, entry: str) -> None:
    optout = listed(tmp_path, f"{line}\n")
    assert [f"owner:{name}" for name in optout.owners] + [
        f"repo:{name}" for name in optout.repos
    ] == [entry]
    name = entry.partition(":")[2]
    origin = name if "/" in name else f"{name}/anything"
    assert optout.excludes_source(f"https://gitlab.com/{origin}", "") == entry


def test_many_origins_do_not_stay_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(optout_module, "_MAX_ORIGINS", 3)
    optout = listed(tmp_path, LIST)
    for idx in range(10):
        assert optout.excludes_file(f"folder:{idx}", "private", "") == ""
        assert optout.excludes_file("folder:work", "private", "")
        assert len(optout._patterns) <= 3


@pytest.mark.parametrize("as_lines", [False, True])
def test_lists_in_json(tmp_path: Path, as_lines: bool) -> None:
    records = [
        {"issue": 1, "author": "a", "optout_repos": ["A/B", "c/d"], "optout_owners": []},
        {"issue": 2, "author": "e", "optout_repos": None, "optout_owners": "E"},
    ]
    text = "\n".join(map(json.dumps, records)) if as_lines else json.dumps(records)
    optout = listed(tmp_path, text, "list.json")
    assert optout == OptOut(owners=frozenset({"e"}), repos=frozenset({"a/b", "c/d"}))


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("some-body", "line 2 .* no known kind"),
        ("user:some-body", "line 2 .* no known kind"),
        ("owner:", "owner:NAME"),
        ("owner:a/b", "owner:NAME"),
        ("owner:two words", "owner:NAME"),
        ("repo:only-a-name", "repo:OWNER/NAME"),
        ("package:a/b", "package:NAME"),
        ("path:src/**", "path:ORIGIN/GLOB"),
        ("path:pypi:foo", "path:ORIGIN/GLOB"),
        ("swhid:swh:1:cnt:12", "40 hexadecimal"),
        ("swhid:swh:2:cnt:" + SHA, "40 hexadecimal"),
    ],
)
def test_a_malformed_line_is_named(tmp_path: Path, line: str, complaint: str) -> None:
    with pytest.raises(RecipeError, match=complaint):
        listed(tmp_path, f"# first\n{line}\n")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('[{"name": "x"}]', "record 1"),
        ("[1]", "record 1"),
        ('{"optout_owners": ["a b"]}', "owner:NAME"),
        ('{"optout_owners": ["a"]}\n{broken', "line 2"),
    ],
)
def test_a_malformed_record_is_named(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(RecipeError, match=complaint):
        listed(tmp_path, text, "list.json")


def test_a_missing_list_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="cannot be read"):
        OptOut.load(tmp_path / "none.txt")


def test_the_digest_names_the_entries_not_the_spelling(tmp_path: Path) -> None:
    first = listed(tmp_path, "owner:A\npackage:b_c\n")
    assert first.digest == listed(tmp_path, "# x\npackage: B-C\n\nowner:a\nowner:A\n").digest
    assert first.digest != listed(tmp_path, "owner:a\n").digest
    assert first.digest != listed(tmp_path, "owner:b-c\npackage:a\n").digest


def test_it_travels_to_workers(tmp_path: Path) -> None:
    optout = listed(tmp_path, LIST)
    again = pickle.loads(pickle.dumps(optout))
    assert again == optout and again.digest == optout.digest
    assert again.excludes_file("pypi:foo-bar", "src/a.py", "")

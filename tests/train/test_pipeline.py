"""Guards the corpus pipeline as a whole: every drop has its reason, held-out code stays unseen, and
the result is the same bytes whatever the workers, when run again, and after an interruption.
"""

import json
from pathlib import Path

import pytest

from attribution.manifest import corpus_id_of, read_manifest
from train.corpus import pipeline, steps
from train.corpus.source_file import SourceFile, read_shards
from train.errors import CorpusError, RecipeError, SourceError
from train.recipe import load_recipe
from train.run import corpus_id_of_run

RECIPE = """
[corpus]
languages = ["Python"]
max_source_bytes = 20_000
[tokenizer]
vocab_size = 300
[model]
name = "m"
n_layers = 1
d_model = 64
d_ff = 64
n_heads = 1
head_dim = 64
context_tokens = 64
[fit]
seed = 1
row_tokens = 64
batch_rows = 1
n_steps = 1
warmup_steps = 1
decay_share = 0.5
muon_lr = 0.01
adamw_lr = 0.01
[[held_out]]
folder = "kept"
name = "kept"
licence = "MIT"
[[source]]
folder = "one"
name = "one"
licence = "MIT"
[[source]]
folder = "two"
name = "two"
licence = "BSD-3-Clause"
"""


def code(name: str, n_functions: int = 12) -> str:
    return "".join(
        f"def {name}_{i}(value, other):\n    total = value + {i}\n"
        f"    for item in other.{name}{i * i}:\n        total -= item\n    return total\n\n\n"
        for i in range(n_functions)
    )


@pytest.fixture
def project(tmp_path: Path) -> Path:
    files = {
        "kept/secret_sauce.py": code("sauce"),
        "one/a.py": code("alpha"),
        "one/near.py": code("alpha") + "# one more line at the end\n",
        "one/b.py": "owner = 'jane@corp.io'\n" + code("beta"),
        "one/short.py": "x = 1\n",
        "one/notes.txt": "not code",
        "one/_vendor/copied.py": code("vendored"),
        "one/nul.py": "x = '\0'\n" + code("nul"),
        "two/same.py": code("alpha"),
        "two/leak.py": code("sauce") + "# a copy of held-out code\n",
        "two/crlf.py": code("gamma").replace("\n", "\r\n"),
        "two/big.py": code("delta", 300),
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
    (tmp_path / "one" / "latin.py").write_bytes("# café\n".encode("latin-1") + code("l").encode())
    (tmp_path / "mine.toml").write_text(RECIPE)
    return tmp_path


def build(project: Path, out: Path, n_workers: int = 1) -> list[str]:
    said: list[str] = []
    pipeline.build_corpus(
        load_recipe(str(project / "mine.toml")), out, n_workers=n_workers, say=said.append
    )
    return said


def texts(folder: Path) -> dict[str, SourceFile]:
    return {f"{file.origin}/{file.path}": file for file in read_shards(folder)}


def test_each_file_meets_its_fate(project: Path) -> None:
    said = build(project, project / "out")
    kept = texts(project / "out" / "corpus")
    assert set(kept) == {"folder:one/a.py", "folder:one/b.py", "folder:two/crlf.py"}
    assert "\r" not in kept["folder:two/crlf.py"].text
    assert "jane" not in kept["folder:one/b.py"].text
    assert set(texts(project / "out" / "held_out")) == {"folder:kept/secret_sauce.py"}
    summary = json.loads((project / "out" / "corpus.json").read_text())
    reasons = {row["stage"]: row["reasons"] for row in summary["stages"]}
    assert reasons["read"] == {
        "other language": 1, "vendored copy": 1, "binary": 1, "not UTF-8": 1,
    }  # fmt: skip
    assert reasons["quality"] == {"too short": 1}
    assert reasons["redact"] == {"replaced, not dropped": 1}
    assert reasons["cap"] == {"share of this project full": 1}
    assert reasons["exact dedup"] == {"exact duplicate": 1}
    assert reasons["near dedup"] == {"near duplicate": 1, "near duplicate of held-out code": 1}
    assert summary["n_files"] == 3 and summary["licences"] == {"MIT": 2, "BSD-3-Clause": 1}
    assert any(line.startswith("near dedup") for line in said)


def test_manifest_is_the_corpus(project: Path) -> None:
    build(project, project / "out")
    rows = read_manifest(project / "out" / "index" / "manifest.jsonl.zst")
    kept = texts(project / "out" / "corpus")
    assert {f"{row.origin}/{row.path}" for row in rows} == set(kept)
    for row in rows:
        file = kept[f"{row.origin}/{row.path}"]
        assert (row.swhid, row.licence, row.n_bytes) == (
            file.swhid, file.licence, len(file.text.encode()),
        )  # fmt: skip
    assert corpus_id_of(rows) == corpus_id_of_run(project / "out")


def result_bytes(out: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(out)): path.read_bytes()
        for folder in ("corpus", "held_out", "index")
        for path in sorted((out / folder).iterdir())
    }


def test_result_is_the_same_bytes_with_two_workers_and_when_run_again(project: Path) -> None:
    build(project, project / "out1")
    build(project, project / "out2", n_workers=2)
    assert result_bytes(project / "out1") == result_bytes(project / "out2")
    build(project, project / "out1")
    assert result_bytes(project / "out1") == result_bytes(project / "out2")


def test_interrupted_run_continues(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build(project, project / "whole")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(steps, "write_project_shards", fail)
        with pytest.raises(OSError, match="No space left"):
            build(project, project / "parts")
    assert not (project / "parts" / "corpus").exists()
    with pytest.raises(CorpusError, match="starling train corpus"):
        corpus_id_of_run(project / "parts")
    build(project, project / "parts")
    assert result_bytes(project / "parts") == result_bytes(project / "whole")


def test_all_refused_sources_are_reported_together(project: Path) -> None:
    text = RECIPE.replace('"BSD-3-Clause"', '"GPL-3.0-only"').replace('"one"', '"gone"', 1)
    (project / "mine.toml").write_text(text)
    with pytest.raises(SourceError) as caught:
        build(project, project / "out")
    assert "folder:two is under GPL-3.0-only" in str(caught.value)
    assert "gone" in str(caught.value)
    assert not (project / "out").exists()


def test_unknown_language_is_refused(project: Path) -> None:
    (project / "mine.toml").write_text(RECIPE.replace('["Python"]', '["Pyton"]'))
    with pytest.raises(RecipeError, match="Pyton"):
        build(project, project / "out")

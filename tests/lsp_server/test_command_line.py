"""Guards the command line: whoever mistypes gets one sentence and the right exit status, never a
traceback; `--help` answers at once.
"""

import errno
import json
import os
import subprocess
import sys

import pytest

import starling
from lsp_server import doctor
from runtime.errors import BundleError
from tests import copying_bundle
from tests.lsp_client import REPOSITORY


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    status = starling.main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return status, out, err


def check_sentence(err: str, *parts: str) -> None:
    assert err.count("\n") == 1 and err.startswith("starling: "), err
    assert "Traceback" not in err
    for part in parts:
        assert part in err, err


def test_help_needs_nothing_but_click() -> None:
    program = (
        "import sys, starling; starling.main(['--help']);"
        "heavy = {'numpy', 'numba', 'llama_cpp', 'pygls', 'lsprotocol', 'torch', 'transformers'};"
        "sys.exit(bool(heavy & set(sys.modules)))"
    )
    took_s = []
    for _ in range(3):
        before_s = os.times().children_user
        done = subprocess.run(
            [sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True
        )
        took_s.append(os.times().children_user - before_s)
        assert done.returncode == 0, done.stderr
    assert all(verb in done.stdout for verb in starling.VERBS)
    assert min(took_s) < 1.0  # 0.1 on an idle machine.


def test_the_nearest_verb_is_named(capsys) -> None:
    status, _, err = run(capsys, "complet", "x.py:1")
    assert status == 2
    check_sentence(err, "'complet'", "did you mean 'complete'?")
    status, _, err = run(capsys, "zzz")
    assert status == 2
    check_sentence(err, "starling --help")


def test_version(capsys) -> None:
    status, out, _ = run(capsys, "--version")
    assert status == 0 and out.startswith("starling ") and out.count("\n") == 1


def test_every_verb_of_this_package_has_help_with_an_example(capsys) -> None:
    for verb in ("complete", "serve", "settings", "doctor"):
        status, out, _ = run(capsys, verb, "--help")
        assert status == 0 and f"Example: starling {verb}" in out


@pytest.mark.parametrize("verb", starling.VERBS)
def test_every_verb_that_is_listed_exists(capsys, verb) -> None:
    status, out, err = run(capsys, verb, "--help")
    assert (status, err) == (0, "") and out.startswith(f"Usage: starling {verb} ")


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "a.py"
    path.write_bytes("é = 1\r\nx = (\r\n".encode())
    return path


@pytest.mark.parametrize("place", ["a.py", "a.py:", "a.py:x", ":3", "a.py:0", "a.py:1:0"])
def test_wrong_places_are_wrong_use(capsys, place) -> None:
    status, _, err = run(capsys, "complete", place)
    assert status == 2
    check_sentence(err)


@pytest.mark.parametrize(
    ("place", "parts"),
    [
        ("{0}:4", ["has 3 lines", "no line 4"]),
        ("{0}:1:7", ["has 5 characters", "last column is 6"]),
        ("{0}x:1", ["there is no file", "check the path"]),
        ("{0}/..:1", []),
    ],
)
def test_a_cursor_or_file_that_is_not_there(capsys, source, place, parts) -> None:
    status, _, err = run(capsys, "complete", place.format(source))
    assert status == 1
    check_sentence(err, *parts)


def test_a_file_that_is_not_utf8(capsys, tmp_path) -> None:
    path = tmp_path / "latin.py"
    path.write_bytes("caf\xe9 = 1\n".encode("latin-1"))
    status, _, err = run(capsys, "complete", f"{path}:1")
    assert status == 1
    check_sentence(err, "not UTF-8 (byte 4)", "iconv")


def test_a_file_of_50_mb(capsys, tmp_path) -> None:
    path = tmp_path / "big.py"
    with path.open("wb") as file:
        file.truncate(50_000_000)
    status, _, err = run(capsys, "complete", f"{path}:1")
    assert status == 1
    check_sentence(err, "50 MB", "up to 4 MB")


@pytest.fixture
def bad_models(tmp_path, tiny_gguf):
    data = tiny_gguf.read_bytes()
    contents = {
        "missing": None,
        "empty": b"",
        "truncated": data[: len(data) // 2],
        "foreign": b"PK\x03\x04" + bytes(100),
    }
    for name, content in contents.items():
        if content is not None:
            (tmp_path / f"{name}.gguf").write_bytes(content)
    return {name: tmp_path / f"{name}.gguf" for name in contents}


@pytest.mark.parametrize("kind", ["missing", "empty", "truncated", "foreign"])
def test_bad_models(capsys, source, bad_models, kind) -> None:
    status, _, err = run(capsys, "complete", f"{source}:2", "--bundle", bad_models[kind])
    assert status == 1
    check_sentence(err, bad_models[kind].name)


def test_a_completion_as_text_and_as_json(capsys, source, tiny_gguf) -> None:
    status, out, err = run(capsys, "complete", f"{source}:2", "-n", 3, "--bundle", tiny_gguf)
    assert (status, err) == (0, "")
    assert out.startswith(f"{source}:2:6  tiny-random, load ")
    status, out, err = run(
        capsys, "complete", f"{source}:2", "-n", 3, "--json", "--bundle", tiny_gguf
    )
    assert (status, err) == (0, "")
    answer = json.loads(out)
    assert (answer["line"], answer["column"], answer["model"]) == (2, 6, "tiny-random")
    assert answer["load_ms"] > 0
    texts = [suggestion["text"] for suggestion in answer["suggestions"]]
    assert 1 <= len(texts) <= 3 and len(set(texts)) == len(texts)
    for suggestion in answer["suggestions"]:
        assert suggestion["verdict"] == "unknown" and "index" in suggestion["reason"]
        assert suggestion["timing"]["total_ms"] >= suggestion["timing"]["decode_ms"] > 0


def test_a_copy_is_shown_with_package_version_path_and_licence(capsys, tmp_path, tiny_gguf) -> None:
    bundle = copying_bundle.make(tmp_path / "bundle", tiny_gguf)
    file = tmp_path / "a.py"
    file.write_text(copying_bundle.PREFIX + copying_bundle.SUFFIX, "utf-8")
    line = copying_bundle.PREFIX.count("\n") + 1
    status, out, err = run(capsys, "complete", f"{file}:{line}", "--bundle", bundle)
    assert (status, err) == (0, "")
    assert "match: copy - stands in the training data" in out
    (source_line,) = [text for text in out.splitlines() if "records/reader.py" in text]
    assert source_line.split()[:2] == ["records", "1.2.3"] and source_line.endswith("  MIT")
    status, out, err = run(capsys, "complete", f"{file}:{line}", "--json", "--bundle", bundle)
    (suggestion,) = json.loads(out)["suggestions"]
    assert (suggestion["verdict"], suggestion["reason"]) == ("copy", "")
    (source,) = suggestion["matches"][0]["sources"]
    assert source["swhid"].startswith("swh:1:cnt:")
    assert source["lines"][0] <= line <= source["lines"][1]
    status, out, _ = run(capsys, "doctor", "--bundle", bundle)
    assert status == 0 and "attribution index: 1 files" in out
    provenance = bundle / "provenance.bin"
    data = bytearray(provenance.read_bytes())
    data[len(data) // 2] ^= 1
    provenance.write_bytes(data)
    status, out, _ = run(capsys, "doctor", "--bundle", bundle)
    assert status == 1 and "BAD attribution index: " in out


def test_doctor_finds_nothing_wrong_with_a_good_model(capsys, tiny_gguf) -> None:
    status, out, _ = run(capsys, "doctor", "--json", "--bundle", tiny_gguf)
    checks = {check["name"]: check for check in json.loads(out)}
    assert status == 0, checks
    assert {"Python", "llama-cpp-python", "kernel cache", "bundle", "model"} <= checks.keys()
    assert "loads and answers" in checks["model"]["found"]


def test_doctor_says_what_it_knows_before_it_goes_on() -> None:
    """The first time it compiles for half a minute; until then a user would see nothing at all."""
    checks = doctor.examine(None)
    assert next(checks).name == "Python"
    checks.close()


def test_doctor_names_what_is_wrong_and_the_cure(capsys, bad_models) -> None:
    status, out, _ = run(capsys, "doctor", "--bundle", bad_models["truncated"])
    assert status == 1
    assert "BAD bundle: " in out and "    -> " in out


def test_errors_become_one_sentence(capsys, monkeypatch) -> None:
    cases = {
        BundleError("x.gguf is empty: name another"): (
            1,
            "starling: x.gguf is empty: name another",
        ),
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "out.bin"): (
            1,
            "starling: no space left on device (out.bin): make room",
        ),
        TypeError("x"): (1, "starling: this is a bug in Starling (TypeError: x); run it with"),
        KeyboardInterrupt(): (130, ""),
    }
    for error, (expected_status, expected_start) in cases.items():

        def fail(arguments: object, error: BaseException = error) -> int:
            raise error

        monkeypatch.setattr(starling, "_run", fail)
        status, _, err = run(capsys)
        assert status == expected_status and err.startswith(expected_start), err
    monkeypatch.setenv("STARLING_DEBUG", "1")
    monkeypatch.setattr(starling, "_run", lambda arguments: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        starling.main([])


def test_the_bundle_of_the_environment_reaches_every_verb(monkeypatch) -> None:
    monkeypatch.setenv("STARLING_BUNDLE", "/models/mine")
    lazy = starling.LazyObject()
    assert str(lazy["bundle_directory"]) == "/models/mine"
    assert lazy.get("something else") is None
    monkeypatch.delenv("STARLING_BUNDLE")
    assert str(starling.LazyObject().get("bundle_directory")).endswith("default_bundle")


def test_a_completion_in_a_project_shows_what_an_editor_would(capsys, tmp_path, tiny_gguf) -> None:
    """The nearest folder that looks like a project is the workspace; without one there is none."""
    files = {
        "shop.py": "def sell_item(till): ...\n",
        "secrets.py": "sell_item = 'hunter2'\n",
        "main.py": "from app.shop import sell_item\nfrom app.secrets import a\nsell_item(\n",
    }
    (tmp_path / "app").mkdir()
    for name, text in files.items():
        (tmp_path / "app" / name).write_text(text)

    def shown() -> list[str]:
        place = f"{tmp_path / 'app' / 'main.py'}:3"
        status, out, _ = run(capsys, "complete", place, "--json", "--bundle", tiny_gguf)
        assert status == 0
        return json.loads(out)["other_files"]

    assert shown() == []
    (tmp_path / "pyproject.toml").touch()
    assert shown() == ["app/shop.py"]

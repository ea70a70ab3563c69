"""Guards the direction of imports (DESIGN: arrows point at the user's laptop).

A failure would mean that serving drags training along, or that a fact needs a second home.
"""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OWN = {"starling", "runtime", "attribution", "lsp_server", "train", "quantize"}
MAY_IMPORT: dict[str, set[str]] = {
    "runtime": set(),
    "attribution": set(),
    "lsp_server": {"runtime", "attribution"},
    "train": {"runtime", "attribution"},
    "quantize": {"runtime", "train.evaluation"},
}


def imports_of(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} uses a relative import"
            assert node.module is not None
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


def violations(package: str, modules: set[str]) -> set[str]:
    allowed = MAY_IMPORT[package] | {package}
    return {
        module
        for module in modules
        if module.partition(".")[0] in OWN
        and not any(
            module == name or module.startswith(name + ".") or name.startswith(module + ".")
            for name in allowed
        )
    }


@pytest.mark.parametrize("package", sorted(MAY_IMPORT))
def test_packages_import_only_what_they_may(package: str) -> None:
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    for path in files:
        assert not violations(package, imports_of(path)), path


def test_the_rule_finds_a_planted_violation() -> None:
    assert violations("runtime", {"train.fitting.loop", "numpy"}) == {"train.fitting.loop"}
    assert violations(
        "quantize", {"train.evaluation.reports.report", "train.model.architectures"}
    ) == {"train.model.architectures"}
    assert not violations("lsp_server", {"runtime.engine", "attribution"})


def test_init_files_are_empty() -> None:
    for package in MAY_IMPORT:
        for path in (ROOT / package).rglob("__init__.py"):
            assert not path.read_text(encoding="utf-8").strip(), path


@pytest.mark.parametrize(
    "modules",
    [
        ["lsp_server.server", "lsp_server.service", "runtime.engine", "attribution.match"],
        [
            "train.evaluation.reports.report",
            "train.evaluation.bits_per_byte",
            "train.evaluation.models.models",
        ],
        ["train.evaluation.fim.scores", "train.evaluation.typing.editors"],
        ["quantize.verify"],
    ],
)
def test_serving_and_proving_import_no_torch(modules: list[str]) -> None:
    code = (
        f"import importlib, sys\nfor name in {modules!r}: importlib.import_module(name)\n"
        "print([m for m in ('torch', 'transformers', 'datatrove') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"

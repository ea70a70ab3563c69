"""Guards recipes: a misspelt setting must be refused by name, never fall back in silence."""

from pathlib import Path

import pytest

from attribution.manifest import read_manifest
from train.corpus.licensing.expressions import is_permissive
from train.errors import RecipeError
from train.recipe_file import RECIPES_DIRECTORY, load_recipe

_TINY = (RECIPES_DIRECTORY / "tiny.toml").read_text(encoding="utf-8")


def write(tmp_path: Path, text: str) -> str:
    path = tmp_path / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_default_recipe_is_broad_permissive_and_holds_projects_out() -> None:
    recipe = load_recipe("default")
    assert len(recipe.sources) >= 120
    assert len(recipe.held_out) >= 12
    trained = {source.origin for source in recipe.sources}
    assert not trained & {source.origin for source in recipe.held_out}
    for source in (*recipe.sources, *recipe.held_out):
        assert "==" in source.pin and len(source.sha256) == 64
        assert is_permissive(source.licence), source


def test_the_committed_manifest_is_of_the_default_recipe() -> None:
    recipe = load_recipe("default")
    versions = {source.origin: source.pin.partition("==")[2] for source in recipe.sources}
    rows = read_manifest(RECIPES_DIRECTORY / "default.manifest.jsonl.zst")
    assert {row.origin for row in rows} == set(versions)
    assert all(row.version == versions[row.origin] for row in rows)
    assert all(is_permissive(licence) for licence in {row.licence for row in rows})
    assert sum(row.n_bytes for row in rows) >= 300_000_000
    languages = {*recipe.corpus.languages}
    assert {row.language for row in rows} <= languages


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("batch_rows", "batch_row", "did you mean `batch_rows`?"),
        ("[fit]", "[fits]", "did you mean `fit`?"),
        ("n_layers = 2\n", "", "lacks n_layers"),
        ("n_layers = 2", 'n_layers = "two"', "must be of type int"),
        ("compile = false", "compile = 0", "must be of type bool"),
        ('name = "runtime"', 'name = "attribution"', "twice"),
        ('folder = "../../train"', 'pin = "requests"', "name==version"),
        ('folder = "../../train"', 'folder = "x"\npin = "a==1"', "exactly one"),
        ("[corpus]", "[corpus", "not valid TOML"),
        ('["Python"]', '["Python", 3]', "list of strings"),
        ("n_steps = 60", "n_steps = 0", "fit.n_steps is 0"),
        ("n_heads = 2", "n_heads = -1", "model.n_heads is -1"),
        ("head_dim = 64", "head_dim = 7", "even"),
        ("row_tokens = 256", "row_tokens = 20", "at least 64"),
        ("decay_share = 0.3", "decay_share = 3", "in 0 to 1"),
        ("[corpus]", '[corpus]\nlicences = "some"', "write permissive or any"),
        ("[corpus]", '[corpus]\nnotebooks = "html"', "write structured or script"),
        ("[corpus]", "[corpus]\nmax_other_share = 1.0", "in 0 to 1"),
        ('name = "runtime"', 'name = "runtime"\nweight = 0.0', "must be positive"),
        ('name = "runtime"', 'name = "runtime"\ndistribution = "egg"', "wheel or sdist"),
        ("vocab_size = 2048", "vocab_size = 100", "between 300"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in _TINY
    with pytest.raises(RecipeError, match=message.replace("?", r"\?")):
        load_recipe(write(tmp_path, _TINY.replace(old, new, 1)))


def test_each_source_has_one_place_and_a_name(tmp_path: Path) -> None:
    for place in ("archive", "folder", "git", "commits", "issues", "pull_requests"):
        text = _TINY + f'[[source]]\n{place} = "x"\n'
        with pytest.raises(RecipeError, match="needs a `name`"):
            load_recipe(write(tmp_path, text))
        source = load_recipe(write(tmp_path, text + 'name = "y"\n')).sources[-1]
        assert (source.place, source.location, source.origin) == (place, "x", f"{place}:y")
    with pytest.raises(RecipeError, match="need a `store`"):
        load_recipe(write(tmp_path, _TINY + '[[source]]\ncontents = "t.csv"\nname = "y"\n'))


def test_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(RecipeError, match="default, own, starling-9m, tiny"):
        load_recipe("no-such-recipe")

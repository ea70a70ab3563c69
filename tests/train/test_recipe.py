"""Guards recipes: a misspelt setting must be refused by name, never fall back in silence."""

from pathlib import Path

import pytest

from train.corpus.licences import is_permissive
from train.errors import RecipeError
from train.recipe import RECIPES_DIRECTORY, load_recipe

_TINY = (RECIPES_DIRECTORY / "tiny.toml").read_text(encoding="utf-8")


def write(tmp_path: Path, text: str) -> str:
    path = tmp_path / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_default_recipe_is_broad_permissive_and_holds_projects_out() -> None:
    recipe = load_recipe("default")
    assert len(recipe.sources) >= 40
    assert len(recipe.held_out) >= 5
    trained = {source.origin for source in recipe.sources}
    assert not trained & {source.origin for source in recipe.held_out}
    for source in (*recipe.sources, *recipe.held_out):
        assert source.version
        assert is_permissive(source.licence), source


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
        ("vocab_size = 2048", "vocab_size = 100", "between 300"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in _TINY
    with pytest.raises(RecipeError, match=message.replace("?", r"\?")):
        load_recipe(write(tmp_path, _TINY.replace(old, new, 1)))


def test_recipe_without_sources_is_refused(tmp_path: Path) -> None:
    text = _TINY.split("[[held_out]]")[0]
    with pytest.raises(RecipeError, match="names no"):
        load_recipe(write(tmp_path, text))


def test_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(RecipeError, match="default, tiny"):
        load_recipe("no-such-recipe")

"""Guards recipes: a misspelt setting must be refused by name, never fall back in silence.

The shipped ones must load, and those of published models say what was published.
"""

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
        ("seed = 1", "seed = -1", "fit.seed is -1, it must be 0 or more"),
        ("seed = 1", "seed = 1\nmicro_rows = -1", "fit.micro_rows is -1"),
        ("adamw_lr = 0.004", "adamw_lr = nan", "fit.adamw_lr is nan, it must be positive"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in _TINY
    with pytest.raises(RecipeError, match=message.replace("?", r"\?")):
        load_recipe(write(tmp_path, _TINY.replace(old, new, 1)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[source]\nfolder = "x"\n', r"written \[\[source\]\]"),
        ("source = [1]\n", r"written \[\[source\]\]"),
        ("fit = 3\n", r"written \[fit\]"),
        ('[[source]]\nfolder = 3\nname = "x"\n', "folder must be of type str"),
        ("[corpus]\nopt_out = 3\n", "opt_out must be of type str"),
        ("[corpus]\ndecontaminate = [3]\n", "must be a list of strings"),
    ],
)
def test_wrong_tables_are_named_in_the_recipe_and_in_what_it_extends(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(RecipeError, match=message):
        load_recipe(write(tmp_path, 'extends = "tiny"\n' + text))
    (tmp_path / "below").mkdir()
    over = tmp_path / "below" / "over.toml"
    over.write_text('extends = "../mine.toml"\n')
    with pytest.raises(RecipeError, match=message):
        load_recipe(str(over))


def test_paths_start_at_the_file_that_names_them(tmp_path: Path) -> None:
    write(
        tmp_path,
        'extends = "tiny"\n[corpus]\nopt_out = "out.txt"\ndecontaminate = ["tests.jsonl"]\n'
        '[[source]]\nfolder = "code"\nname = "code"\n',
    )
    (tmp_path / "below").mkdir()
    over = tmp_path / "below" / "over.toml"
    over.write_text('extends = "../mine.toml"\n')
    recipe = load_recipe(str(over))
    directory = recipe.path.parent
    found = [recipe.corpus.opt_out, *recipe.corpus.decontaminate, recipe.sources[0].folder]
    expected = [tmp_path / name for name in ("out.txt", "tests.jsonl", "code")]
    assert [(directory / path).resolve() for path in found] == expected


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
    with pytest.raises(
        RecipeError, match="default, laptop, nano, own, starcoder-python, starcoder2"
    ):
        load_recipe("no-such-recipe")


@pytest.mark.parametrize("path", sorted(RECIPES_DIRECTORY.glob("*.toml")), ids=lambda p: p.stem)
def test_every_shipped_recipe_can_be_trained(path: Path) -> None:
    recipe = load_recipe(path.stem)
    assert recipe.name == path.stem
    # A sample can be as long as a row, and learned positions end with the context.
    assert recipe.fit.row_tokens <= recipe.model.context_tokens
    assert recipe.fit.batch_rows % max(1, recipe.fit.micro_rows) == 0
    # The code and the length of a run on the user's own code are given with the command.
    if path.stem not in ("own", "adapt"):
        assert recipe.sources and recipe.held_out
        assert recipe.fit.warmup_steps < recipe.fit.n_steps


# Li et al. 2023, Lozhkov et al. 2024 and their model cards.
@pytest.mark.parametrize(
    ("name", "n_tokens"),
    [
        ("starcoderbase-1b", 1.0e12),
        ("starcoderbase-3b", 1.0e12),
        ("starcoderbase-7b", 1.0e12),
        ("starcoderbase-15b", 1.0e12),
        ("starcoder-python", 3.5e10),
        ("starcoder2-3b", 3.1e12),
        ("starcoder2-7b", 3.5e12),
        ("starcoder2-15b", 4.1e12),
    ],
)
def test_published_recipes_see_the_published_number_of_tokens(name: str, n_tokens: float) -> None:
    recipe = load_recipe(name)
    fit = recipe.fit
    assert fit.n_steps * fit.batch_rows * fit.row_tokens == pytest.approx(n_tokens, rel=0.05)
    assert recipe.tokenizer.vocab_size == 49_152
    assert (fit.optimizer, fit.schedule, fit.parallel) == ("adamw", "cosine", "fsdp")
    assert recipe.sources == load_recipe("default").sources

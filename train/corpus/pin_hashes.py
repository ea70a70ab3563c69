"""Write the hashes of pins into a recipe file, so that its archives are the same for everybody."""

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from train.corpus.source_file import whole_file
from train.corpus.sources.package_index import resolve_sha256
from train.errors import RecipeError
from train.recipe import Recipe, Source
from train.recipe_file import load_recipe

_N_REQUESTS = 4


def lock_recipe(recipe: Recipe, *, say: Callable[[str], None]) -> None:
    """Add `sha256` after each pin that has none; the rest of the file stays as it is."""
    missing = [
        source for source in (*recipe.held_out, *recipe.sources) if source.pin and not source.sha256
    ]
    with ThreadPoolExecutor(_N_REQUESTS) as pool:
        hashes = list(pool.map(_hash_of, missing))
    text = recipe.path.read_text(encoding="utf-8")
    for source, sha256 in zip(missing, hashes, strict=True):
        line = re.compile(rf'^pin *= *"{re.escape(source.pin)}".*$', re.MULTILINE)
        text, n_found = line.subn(lambda found, of=sha256: f'{found[0]}\nsha256 = "{of}"', text)
        if n_found != 1:
            raise RecipeError(
                f"{recipe.path} does not write the pin {source.pin} on a line of its own: add "
                f'sha256 = "{sha256}" by hand'
            )
    with whole_file(recipe.path) as file:
        file.write(text.encode())
    load_recipe(str(recipe.path))
    say(f"{len(missing)} hashes written to {recipe.path}")


def _hash_of(source: Source) -> str:
    return resolve_sha256(source.pin, distribution=source.distribution)

"""Options that several commands of `starling eval` share."""

import math
from pathlib import Path
from typing import Any

import click


class Number(click.FloatRange):
    """A float in a range. click's own lets NaN into every range, and infinity into open ones."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number", param, ctx)
        return number


bundle_option = click.option(
    "--bundle", type=click.Path(exists=True, path_type=Path),
    help="Bundle, GGUF file, or Hugging Face folder (config.json, tokenizer.json, *.safetensors).  "
    "[default: the bundle that ships with Starling]",
)  # fmt: skip
against_option = click.option(
    "--against", type=click.Path(exists=True, path_type=Path), multiple=True,
    help="Another bundle, GGUF file or Hugging Face folder, for the same table. Can be repeated.",
)  # fmt: skip
held_out_option = click.option(
    "--held-out", type=click.Path(path_type=Path),
    default=Path("runs/default/held_out"), show_default=True,
    help="Folder of held-out projects that `starling train corpus` made.",
)  # fmt: skip
language_option = click.option(
    "--language", default="", help="Only files in this language, e.g. Python.  [default: all]"
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")

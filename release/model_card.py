"""The model card of a bundle, made again from the measurements that lie beside it.

    python release/model_card.py [BUNDLE] [--check]

The card of a bundle is written by `starling quantize`. When its wording changes, or a new
evaluation is put into the bundle, this writes it again without touching the weights. --check only
compares.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from quantize.card import render_card
from quantize.report import read_report
from runtime.bundle import default_bundle_directory, open_bundle

REPOSITORY = Path(__file__).resolve().parents[1]
CARD = "MODEL_CARD.md"
LICENCE = "Apache-2.0"
"""Of weights that this repository made."""


def main() -> int:
    """Writes or compares; 1 when the card is another one."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("bundle", type=Path, nargs="?", default=default_bundle_directory())
    parser.add_argument("--check", action="store_true", help="write nothing")
    options = parser.parse_args()
    path = options.bundle / CARD
    card = card_of(options.bundle)
    is_same = path.exists() and path.read_text("utf-8") == card
    if not is_same and not options.check:
        new = path.with_name(f".{CARD}.new")
        new.write_text(card, "utf-8")
        new.replace(path)
    print(f"{path}: {'as it was' if is_same else 'another one' if options.check else 'written'}")
    return int(options.check and not is_same)


def card_of(bundle: Path) -> str:
    """What `starling quantize` would write for a bundle of this repository."""
    spec, report = open_bundle(bundle).spec, read_report(bundle)
    if spec is None or report is None:
        raise SystemExit(
            f"{bundle} has no spec.json or no quantization.json: no card is made of it"
        )
    return render_card(
        spec,
        report,
        corpus=_read(bundle / "corpus.json"),
        evaluation=_read(bundle / "evaluation.json"),
        has_index=(bundle / "bloom.bin").exists(),
        licence=LICENCE,
        notes=(),
    )


def _read(path: Path) -> dict[str, Any] | None:
    return dict(json.loads(path.read_text("utf-8"))) if path.exists() else None


if __name__ == "__main__":
    sys.exit(main())

"""Makes `spdx_texts.jsonl.zst` from the full list of the npm package `spdx-license-list`.

    python -m train.corpus.licensing.make_spdx_texts PACKAGE_FOLDER

`PACKAGE_FOLDER` holds the unpacked package (`spdx-full.json`, `package.json`), whose data is under
CC0-1.0. Deprecated ids are left out: the same licence stands under its present id. Ids that share
one text (`GPL-3.0-only`, `GPL-3.0-or-later`) share one row, the plainest first.
"""

import json
import sys
from pathlib import Path

import zstandard

from train.corpus.licensing.texts import SPDX_TEXTS

_DEPRECATED = frozenset({
    "AGPL-1.0", "AGPL-3.0", "BSD-2-Clause-FreeBSD", "BSD-2-Clause-NetBSD", "GFDL-1.1", "GFDL-1.2",
    "GFDL-1.3", "GPL-1.0", "GPL-1.0+", "GPL-2.0", "GPL-2.0+", "GPL-2.0-with-GCC-exception",
    "GPL-2.0-with-autoconf-exception", "GPL-2.0-with-bison-exception",
    "GPL-2.0-with-classpath-exception", "GPL-2.0-with-font-exception", "GPL-3.0", "GPL-3.0+",
    "GPL-3.0-with-GCC-exception", "GPL-3.0-with-autoconf-exception", "LGPL-2.0", "LGPL-2.0+",
    "LGPL-2.1", "LGPL-2.1+", "LGPL-3.0", "LGPL-3.0+", "Net-SNMP", "Nunit", "StandardML-NJ",
    "bzip2-1.0.5", "eCos-2.0", "wxWindows",
})  # fmt: skip
_WITHOUT_TEXT = frozenset({"any-OSI", "any-OSI-perl-modules"})
"""Names for "some licence", not licences."""


def main(package: Path) -> None:
    """Write the data file beside the module that reads it."""
    full = json.loads((package / "spdx-full.json").read_text(encoding="utf-8"))
    version = json.loads((package / "package.json").read_text(encoding="utf-8"))["version"]
    ids_of_text: dict[str, list[str]] = {}
    for spdx_id, licence in full.items():
        if spdx_id not in _DEPRECATED | _WITHOUT_TEXT:
            text = licence["licenseText"].replace("\r\n", "\n")
            ids_of_text.setdefault(text, []).append(spdx_id)
    rows = sorted((sorted(ids, key=_plainness), text) for text, ids in ids_of_text.items())
    header = {
        "source": f"npm package spdx-license-list {version}",
        "licence": "CC0-1.0",
        "n_texts": len(rows),
    }
    lines = [header, *({"ids": ids, "text": text} for ids, text in rows)]
    data = "".join(json.dumps(line, sort_keys=True) + "\n" for line in lines).encode()
    SPDX_TEXTS.write_bytes(zstandard.ZstdCompressor(level=22).compress(data))
    print(f"{SPDX_TEXTS.name}: {len(rows)} texts, {SPDX_TEXTS.stat().st_size} bytes")


def _plainness(spdx_id: str) -> tuple[int, int, str]:
    """`X-only` before `X-or-later`, which needs words that no licence text holds."""
    return ("-or-later" in spdx_id, len(spdx_id), spdx_id)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

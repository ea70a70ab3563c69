"""Guards the line between boilerplate and code: code taken for a licence text would hide a copy, a
licence header taken for code would cry wolf in every new file."""

import pytest

from attribution import boilerplate
from attribution.boilerplate import is_boilerplate
from tests.attribution.corpus import invented_code, module_text

MIT = """\
# Permission is hereby granted, free of charge, to any person obtaining a copy
# of this software and associated documentation files (the "Software"), to deal
# in the Software without restriction, including without limitation the rights
"""
APACHE = """\
 * Licensed under the Apache License, Version 2.0 (the "License");
 * you may not use this file except in compliance with the License.
 * You may obtain a copy of the License at
 *
 *     http://www.apache.org/licenses/LICENSE-2.0
"""
BSD = """\
Redistribution and use in source and binary forms, with or without
modification, are permitted provided that the following conditions are met:
"""
SPDX = "// SPDX-License-Identifier: MIT\n// Copyright (c) 2020 Somebody\n"


@pytest.mark.parametrize("text", [MIT, APACHE, BSD, SPDX])
def test_licence_texts(text):
    assert is_boilerplate(text)


@pytest.mark.parametrize(
    "text",
    [
        "import os\nimport sys\nfrom typing import Any\n",
        "from typing import Any\n\nif TYPE_CHECKING:\n    from datetime import datetime\n",
        '"""\n\nfrom __future__ import annotations\n\nimport operator\n',
        "from attrs import (\n    define,\n    field as make_field,\n)\n",
        '#include <stdio.h>\n#include "list.h"\n',
        "use std::io;\nuse std::collections::HashMap;\n",
        "const fs = require('fs')\nconst path = require('path')\n",
        "import {a, b} from './c'\nimport d from 'd'\n",
        "import #{ a } from './b'\n",
    ],
)
def test_imports(text):
    assert is_boilerplate(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n\n",
        "x = 1\n",
        "import os\nos.remove(path)\n",
        "import os\n\ndef main():\n    pass\n",
        MIT + "def f(x):\n    return x + 1\n",
        "raise LicenceError('all rights reserved')\nvalue = 3\n",
        "# The damages are summed here, once for each of the players that took part in the\n"
        "# round, and then shown in the order in which the players joined the table, which is\n"
        "# also the order in which they are saved at the end of the game, and read again.\n",
        "name\nother\nthird\n",
    ],
)
def test_all_else_is_not(text):
    assert not is_boilerplate(text)


def test_real_code_is_not_boilerplate():
    lines = module_text("argparse").splitlines(keepends=True)
    pieces = ["".join(lines[at : at + 6]) for at in range(120, len(lines) - 6, 6)]
    flagged = [piece for piece in pieces if is_boilerplate(piece)]
    assert len(flagged) <= 2, flagged
    assert not is_boilerplate(invented_code(1, 5))


def test_every_phrase_holds_one_of_the_stems_that_are_looked_for_first():
    examples = """spdx-license-identifier copyright (c) copyright © copyright 2020
        all rights reserved;licensed under;licensed to;under the terms of
        permission is hereby granted;free of charge;associated documentation files
        without restriction;substantial portions;redistribution of;source and binary forms
        the following conditions;above copyright;provided 'as is';as is" basis;warranty
        merchantability;fitness for a particular purpose;liable;damages;apache license
        license for the specific language;www.apache.org/licenses;bsd-style;mit license
        general public license;contributors may be used;prior written permission"""
    for example in examples.replace("\n", ";").split(";"):
        phrase = f"{example.strip()} "
        assert boilerplate._LICENCE_PHRASES.search(phrase), phrase
        assert any(stem in phrase for stem in boilerplate._LICENCE_STEMS), phrase

"""Guards which licence the head of a source file names, and that mere mentions name none.

A failure would mean training on a copyleft file of a permissive project, or losing a file because
it speaks of licences.
"""

import textwrap

import pytest

from train.corpus.licensing.detect import detect_header
from train.corpus.licensing.texts import spdx_texts

TEXTS = {licence.ids[0]: licence.text for licence in spdx_texts()}


@pytest.mark.parametrize(
    ("text", "expression"),
    [
        ("# SPDX-License-Identifier: MIT\nx=1", "MIT"),
        (
            "/* SPDX-License-Identifier: GPL-2.0+ OR BSD-3-Clause */\nint x;",
            "BSD-3-Clause OR GPL-2.0-or-later",
        ),
        ("<!--\nSPDX-License-Identifier: CC0-1.0\n-->\n<a/>", "CC0-1.0"),
        ('"""Doc.\n\nSPDX-License-Identifier: LGPL-2.1-only\n"""\nimport x', "LGPL-2.1-only"),
        (
            "#!/usr/bin/env python\n"
            "# -*- coding: utf-8 -*-\n"
            "# Copyright 2020 Foo Inc.\n"
            "#\n"
            '# Licensed under the Apache License, Version 2.0 (the "License");\n'
            "# you may not use this file except in compliance with the License.\n"
            "# You may obtain a copy of the License at\n"
            "#\n"
            "#     http://www.apache.org/licenses/LICENSE-2.0\n"
            "#\n"
            "# Unless required by applicable law or agreed to in writing, software\n"
            '# distributed under the License is distributed on an "AS IS" BASIS,\n'
            "# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.\n"
            "# See the License for the specific language governing permissions and\n"
            "# limitations under the License.\n"
            "x",
            "Apache-2.0",
        ),
        (
            "/*\n"
            " * This program is free software; you can redistribute it and/or modify\n"
            " * it under the terms of the GNU General Public License as published by\n"
            " * the Free Software Foundation; either version 2 of the License, or\n"
            " * (at your option) any later version.\n"
            " */\n"
            "int x;",
            "GPL-2.0-or-later",
        ),
        (
            "# This program is free software: you can redistribute it and/or modify\n"
            "# it under the terms of the GNU Affero General Public License as published by\n"
            "# the Free Software Foundation, either version 3 of the License, or\n"
            "# (at your option) any later version.\n"
            "# This program is distributed in the hope that it will be useful,\n"
            "# but WITHOUT ANY WARRANTY. See the\n"
            "# GNU Affero General Public License for more details.\n"
            "# You should have received a copy of the GNU General Public License\n"
            "x",
            "AGPL-3.0-or-later",
        ),
        (
            "// This library is free software; you can redistribute it and/or\n"
            "// modify it under the terms of the GNU Lesser General Public\n"
            "// License as published by the Free Software Foundation; either\n"
            "// version 2.1 of the License, or (at your option) any later version.\n"
            "x",
            "LGPL-2.1-or-later",
        ),
        (
            "// This Source Code Form is subject to the terms of the Mozilla Public\n"
            "// License, v. 2.0. If a copy of the MPL was not distributed with this\n"
            "// file, You can obtain one at http://mozilla.org/MPL/2.0/.\n"
            "x",
            "MPL-2.0",
        ),
        (
            "// Copyright 2009 The Go Authors. All rights reserved.\n"
            "// Use of this source code is governed by a BSD-style\n"
            "// license that can be found in the LICENSE file.\n"
            "package x",
            "BSD-3-Clause",
        ),
        ("# Licensed under the MIT license.\nx", "MIT"),
        (
            "// Copyright (c) Microsoft Corporation. All rights reserved.\n"
            "// Licensed under the MIT License. See License.txt in the project "
            "root for license information.\n"
            "x",
            "MIT",
        ),
        (
            "/*! jQuery v1\n * Dual licensed under the MIT or GPL Version 2 licenses.\n */\nx",
            "GPL-2.0-only OR MIT",
        ),
        (
            "// Licensed under either the MIT license or the GPL, at your option.\nx",
            "GPL-1.0-or-later OR MIT",
        ),
        (
            "// Licensed under the Apache License, Version 2.0 <LICENSE-APACHE or\n"
            "// http://www.apache.org/licenses/LICENSE-2.0> or the MIT license\n"
            "// <LICENSE-MIT or http://opensource.org/licenses/MIT>, at your\n"
            "// option. This file may not be copied.\n"
            "x",
            "Apache-2.0 OR MIT",
        ),
        (
            "# This file is dual licensed under the terms of the Apache License, Version\n"
            "# 2.0, and the BSD License. See the LICENSE file in the root of this repository\n"
            "# for complete details.\n"
            "x",
            "Apache-2.0 OR BSD-3-Clause",
        ),
        ("# GNU General Public License v3\nx", "GPL-3.0-only"),
        ("# Licensed under the GPLv3\nx", "GPL-3.0-only"),
        ("# License: LGPL v2.1\nx", "LGPL-2.1-only"),
        ("# License: GPLv2+\nx", "GPL-2.0-or-later"),
        (
            "//===-- x.cpp\n"
            "// Part of the LLVM Project, under the Apache License v2.0 with LLVM Exceptions.\n"
            "// See https://llvm.org/LICENSE.txt for license information.\n"
            "// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception\n"
            "x",
            "Apache-2.0 WITH LLVM-exception",
        ),
        ("# This file is placed in the public domain.\nx", "LicenseRef-public-domain"),
        (
            "/* To the extent possible under law, the author has dedicated all copyright\n"
            "and related and neighboring rights to this software to the public domain\n"
            "worldwide. No licence is needed. */\nx",
            "LicenseRef-public-domain",
        ),
        (
            "# Distributed under the Boost Software License, Version 1.0. (See\n"
            "# accompanying file LICENSE_1_0.txt)\n"
            "x",
            "BSL-1.0",
        ),
        (
            "# This module is free software; you can redistribute it and/or modify "
            "it under the same terms as Perl itself.\n"
            "x",
            "Artistic-1.0-Perl OR GPL-1.0-or-later",
        ),
        ('__author__ = "x"\n__license__ = "GPL"\nx', "GPL-1.0-or-later"),
        (
            "/* ***** BEGIN LICENSE BLOCK *****\n"
            " * Version: MPL 1.1/GPL 2.0/LGPL 2.1\n"
            " *\n"
            " * The contents of this file are subject to the Mozilla Public License Version\n"
            ' * 1.1 (the "License"); you may not use this file except in compliance with\n'
            " * the License.\n"
            " *\n"
            " * Alternatively, the contents of this file may be used under the terms of\n"
            ' * either the GNU General Public License Version 2 or later (the "GPL"), or\n'
            ' * the GNU Lesser General Public License Version 2.1 or later (the "LGPL"),\n'
            " * in which case the provisions apply.\n"
            " */\n"
            "x",
            "GPL-2.0-or-later OR LGPL-2.1-or-later OR MPL-1.1",
        ),
        (
            "// This work is licensed under a Creative Commons "
            "Attribution-ShareAlike 4.0 International License.\n"
            "x",
            "CC-BY-SA-4.0",
        ),
        (
            "/* Unauthorized copying of this file, via any medium is strictly "
            "prohibited. Proprietary and confidential */\n"
            "x",
            "LicenseRef-proprietary",
        ),
        (
            "/*\n"
            " * Copyright (c) 2015 Oracle.\n"
            " * This program and the accompanying materials are made available "
            "under the terms of the Eclipse Public License v1.0\n"
            " * which accompanies this distribution\n"
            " */\n"
            "x",
            "EPL-1.0",
        ),
        (
            "# This code is licensed under the GPL version 2.  See the COPYING file.\nx",
            "GPL-2.0-only",
        ),
        (
            "# This work is licensed under the terms of the GNU GPL, version 2 or later.\nx",
            "GPL-2.0-or-later",
        ),
        (
            "# Available under the terms of version 3 of the GNU Lesser General Public License.\nx",
            "LGPL-3.0-only",
        ),
        ("# SPDX-License-Identifier: Foo-Bar-9\nx", "NOASSERTION"),
        ("-- SPDX-License-Identifier: (MIT OR Apache-2.0)\nx", "Apache-2.0 OR MIT"),
        ("%% This file is distributed under the ISC license.\nx", "ISC"),
        ("/*\n" + TEXTS["MIT"] + "*/\nint x;", "MIT"),
        (textwrap.indent(TEXTS["BSD-3-Clause"], "# ") + "\nimport x\n", "BSD-3-Clause"),
        ("# Doc.\n#\n" + textwrap.indent(TEXTS["ISC"], "# ") + "\nx", "ISC"),
    ],
)
def test_headers(text: str, expression: str) -> None:
    finding = detect_header(text)
    assert finding and finding.expression == expression
    assert finding.evidence.startswith("header: ")


@pytest.mark.parametrize(
    "text",
    [
        "x=1\n",
        'import re\nTABLE = {"GPL": "GNU General Public License", "MIT": "MIT License"}\n# SPDX\n',
        '"""Detects GPL, MIT and Apache licenses in source files."""\nimport x',
        '"""Finds the license of a package."""\n',
        "# This parser understands the license field of setup.cfg\nx",
        "# GPL-compatible random numbers\nx",
        '"""Works like the GNU General Public License checker."""\nx',
        "# See the GNU General Public License for more details.\nx",
        '"""Permission checks: who may redistribute a ticket."""\nx',
        'def f():\n    """Licensed under the GPL."""\n',
        'x = "SPDX-License-Identifier: GPL-3.0-only"\n',
        'text = (\n    "SPDX-License-Identifier: MIT\\n"\n)\n',
        '#include <license.h>\nint main(){ puts("GNU GPL"); }',
        "# The permission model of the bsd sockets\nx",
        "# Not licensed under the GPL.\nx",
        "# You should have received a copy of the license.\nx",
        "# See LICENSE for details.\nx",
        "# Copyright 2020 A. All rights reserved.\nx",
        '"""License manager for proprietary dongles."""\nx',
        "# REUSE-IgnoreStart\n# SPDX-License-Identifier: GPL-2.0-only\n# REUSE-IgnoreEnd\nx",
        "# The public domain name system\nx",
        "# mit einem Test\nx",
        "# A client for the Apache Kafka license server\nx",
        "import a\n# Licensed under the GPL\n",
    ],
)
def test_mentions_are_not_headers(text: str) -> None:
    assert detect_header(text) is None

"""Guards which files an import statement leads to: a wrong one shows the model names that the code
does not know, and one outside of the workspace would be somebody else's.
"""
# ruff: noqa: E501

from pathlib import Path

import pytest

from lsp_server.context.imports import imported_files

FILES = [
    "pkg/__init__.py", "pkg/app.py", "pkg/models.py", "pkg/sub/__init__.py", "pkg/sub/deep.py",
    "src/lib/core.py", "tool.py", "stubs.pyi",
    "web/app.ts", "web/util.ts", "web/view.tsx", "web/lib/index.ts", "web/old.js", "web/style.css",
    "src/shared.ts", "web/types.d.ts",
    "go/go.mod", "go/main.go", "go/store/a.go", "go/store/b.go", "go/store/a_test.go",
    "rust/Cargo.toml", "rust/src/main.rs", "rust/src/parser.rs", "rust/src/net/mod.rs",
    "rust/src/net/tcp.rs", "rust/src/parser/lexer.rs",
    "c/main.c", "c/main.h", "c/list.h", "include/shared.h", "c/inner/x.hpp", "c/inner/x.cpp",
    "j/src/org/app/Main.java", "j/src/org/app/Shop.java", "j/src/org/util/Text.java",
]  # fmt: skip

CASES = [
    # file, statements, files that they mean
    ("pkg/app.py", "from pkg.models import Shop", ["pkg/models.py"]),
    ("pkg/app.py", "from .models import Shop, (", ["pkg/models.py"]),
    ("pkg/app.py", "from . import models, sub", ["pkg/models.py", "pkg/__init__.py"]),
    ("pkg/app.py", "from .sub import (\n    deep,\n)\n", ["pkg/sub/deep.py", "pkg/sub/__init__.py"]),
    ("pkg/sub/deep.py", "from ..models import Shop", ["pkg/models.py"]),
    ("pkg/sub/deep.py", "from ... import tool", ["tool.py"]),
    ("pkg/app.py", "import os, tool as t", ["tool.py"]),
    ("pkg/app.py", "import pkg.sub.deep", ["pkg/sub/deep.py"]),
    ("pkg/app.py", "    from lib.core import x", ["src/lib/core.py"]),
    ("pkg/app.py", "from stubs import x", ["stubs.pyi"]),
    ("pkg/app.py", "import numpy\nfrom click import echo\nx = 'import tool'", []),
    ("pkg/app.py", "from pkg.app import me", ["pkg/__init__.py"][:0]),
    ("pkg/app.py", "from ........ import far", []),
    ("web/app.ts", "import { a } from './util';", ["web/util.ts"]),
    ("web/app.ts", "import { a } from './util.js';", ["web/util.ts"]),
    ("web/app.ts", "import View from \"./view\"", ["web/view.tsx"]),
    ("web/app.ts", "export * from './lib'", ["web/lib/index.ts"]),
    ("web/app.ts", "const old = require('./old')", ["web/old.js"]),
    ("web/app.ts", "await import('./lib/../util')", ["web/util.ts"]),
    ("web/app.ts", "import s from '@/shared'", ["src/shared.ts"]),
    ("web/app.ts", "import type { T } from './types'", ["web/types.d.ts"]),
    ("web/app.ts", "import React from 'react'", []),
    ("web/app.ts", "import x from '../../../../etc/passwd'", []),
    ("go/main.go", 'import (\n\t"fmt"\n\ts "example.org/shop/store"\n)', ["go/store/a.go", "go/store/b.go"]),
    ("go/main.go", 'import "example.org/shop/store"', ["go/store/a.go", "go/store/b.go"]),
    ("go/main.go", 'import "example.org/shopping/store"', []),
    ("rust/src/main.rs", "mod parser;\nmod net;", ["rust/src/parser.rs", "rust/src/net/mod.rs"]),
    ("rust/src/main.rs", "pub(crate) mod parser;", ["rust/src/parser.rs"]),
    ("rust/src/main.rs", "use crate::net::tcp::{Socket, Port};", ["rust/src/net/tcp.rs", "rust/src/net/mod.rs"]),
    ("rust/src/net/tcp.rs", "use crate::parser::parse;", ["rust/src/parser.rs"]),
    ("rust/src/parser.rs", "mod lexer;", ["rust/src/parser/lexer.rs"]),
    ("rust/src/main.rs", "use std::io;\nmod tests { }", []),
    ("c/main.c", '#include "list.h"\n#include <stdio.h>', ["c/main.h", "c/list.h"]),
    ("c/main.c", '#  include "shared.h"', ["c/main.h", "include/shared.h"]),
    ("c/inner/x.hpp", '#include "../list.h"', ["c/inner/x.cpp", "c/list.h"]),
    ("j/src/org/app/Main.java", "package org.app;\nimport org.util.Text;", ["j/src/org/util/Text.java"]),
    ("j/src/org/app/Main.java", "package org.app;\nimport static org.app.Shop.buy;", ["j/src/org/app/Shop.java"]),
    ("j/src/org/app/Main.java", "package org.app;\nimport java.util.List;", []),
    ("notes.md", "import tool", []),
]  # fmt: skip


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("imports") / "w"
    for name in FILES:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("module example.org/shop\n\ngo 1.22\n" if path.name == "go.mod" else "")
    return root


@pytest.mark.parametrize(("name", "text", "expected"), CASES)
def test_imports(root: Path, name: str, text: str, expected: list[str]) -> None:
    found = imported_files(text, root / name, root)
    assert [str(path.relative_to(root)) for path in found] == expected


def test_a_hostile_text_takes_no_time(root: Path) -> None:
    for text in ("from " + "a." * 40_000, "import " + "a, " * 30_000, "from . import (" * 5_000):
        imported_files(text, root / "pkg" / "app.py", root)

#!/usr/bin/env python3
"""Proves that tools/check_layers.py can fail: each case is a small tree with one thing wrong."""
import pathlib
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tools"))
import check_layers  # noqa: E402

GOOD = {
    "include/cermet/shape.h": "#pragma once\n",
    "ir/node.h": '#pragma once\n#include "cermet/shape.h"\n#include <fmt/format.h>\n',
    "ir/node.cpp": '#include "ir/node.h"\n',
    "ir/CMakeLists.txt": "cermet_layer(cermet_ir SOURCES\n  node.cpp\n)\n",
    "compiler/passes.h": '#pragma once\n#include "ir/node.h"\n',
    "compiler/llvm/emit.h": '#pragma once\n#include <llvm/IR/IRBuilder.h>\n',
    "runtime/engine.h": '#pragma once\n#include "compiler/passes.h"\n',
    "tests/support/catch.h": "#pragma once\n#include <catch2/catch.hpp>\n",
    "tests/ir/node_test.h": '#pragma once\n#include "ir/node.h"\n#include "support/catch.h"\n',
}
# The change to the good tree, and what must be said about it.
BAD = [
    ({"ir/node.h": '#pragma once\n#include "compiler/passes.h"\n'},
     "ir/node.h:2: ir may not include compiler"),
    ({"compiler/passes.h": '#pragma once\n#include "runtime/engine.h"\n'},
     "compiler/passes.h:2: compiler may not include runtime"),
    ({"include/cermet/shape.h": '#pragma once\n#include "ir/node.h"\n'},
     "include/cermet/shape.h:2: api may not include ir"),
    ({"include/cermet/shape.h": "#pragma once\n#include <fmt/format.h>\n"},
     "include/cermet/shape.h:2: api may not include <fmt/format.h>"),
    ({"runtime/engine.h": '#pragma once\n#include "tests/support/catch.h"\n'},
     "runtime/engine.h:2: runtime may not include tests"),
    ({"compiler/passes.h": "#pragma once\n#include <llvm/IR/Module.h>\n"},
     "compiler/passes.h:2: <llvm/IR/Module.h> outside compiler/llvm"),
    ({"ir/node.h": '#pragma once\n#include <cermet/shape.h>\n'}, "write it in quotes"),
    ({"ir/node.cpp": '#include "node.h"\n'}, 'ir/node.cpp:1: "node.h" is not written from the root'),
    ({"ir/node.h": '#include "cermet/shape.h"\n'}, "ir/node.h:1: no #pragma once"),
    ({"ir/extra.cpp": ""}, "ir/extra.cpp:1: in no CMakeLists.txt"),
    ({"ir/node.cpp": "using namespace std;\n"}, "ir/node.cpp:1: using namespace"),
    ({"ir/a.h": '#pragma once\n#include "ir/b.h"\n', "ir/b.h": '#pragma once\n#include "ir/a.h"\n'},
     "headers include each other: ir/a.h -> ir/b.h -> ir/a.h"),
    ({"compiler/passes.h": '#pragma once\n#include "compiler/llvm/emit.h"\n',
      "compiler/llvm/object.h": '#pragma once\n#include "compiler/target.h"\n',
      "compiler/target.h": "#pragma once\n"},
     "folders include each other: compiler -> compiler/llvm -> compiler"),
    ({"ir/README.md": "see /" + "home/somebody/notes\n"}, "ir/README.md:1: a path of one machine"),
]


class CheckLayers(unittest.TestCase):
    def problems(self, change):
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            for name, text in {**GOOD, **change}.items():
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                (root / name).write_text(text)
            return check_layers.check(root)

    def test_a_tree_in_order_passes(self):
        self.assertEqual(self.problems({}), [])

    def test_each_violation_is_found(self):
        for change, expected in BAD:
            with self.subTest(expected):
                problems = self.problems(change)
                self.assertTrue(any(expected in p for p in problems), problems)


if __name__ == "__main__":
    unittest.main()

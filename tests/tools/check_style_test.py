#!/usr/bin/env python3
"""Proves that tools/check_style.py can fail, and that it never takes a changed file for a clean one."""
import contextlib
import io
import json
import pathlib
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tools"))
import check_style  # noqa: E402

COPIES = "#pragma once\nstruct Big {\n  Big(const Big&);\n  int numbers[99];\n};\n"
CLEAN = '#include "ir/big.h"\nint first(const Big& big) { return big.numbers[SECOND]; }\n'
WRONG = '#include "ir/big.h"\nint first(const Big big) { return big.numbers[SECOND]; }\n'
CHEAP = "#pragma once\nstruct Big {\n  int* numbers;\n};\n"


class CheckTidy(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.root = pathlib.Path(temporary.name).resolve()
        self.write(".clang-tidy", (ROOT / ".clang-tidy").read_text())
        self.write("ir/big.h", COPIES)
        self.compiled_with("-DSECOND=1")

    def write(self, path, text):
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text)

    def compiled_with(self, flags):
        # g++ and a precompiled header: clang-tidy could read neither.
        command = (f"ccache g++ {flags} -I{self.root} -std=c++20 -fpch-preprocess -Winvalid-pch "
                   f"-include {self.root}/none.hxx -o first.o -c {self.root}/ir/first.cpp")
        self.write("build/compile_commands.json", json.dumps(
            [{"directory": str(self.root), "file": f"{self.root}/ir/first.cpp", "command": command}]))

    def tidy(self):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            code = check_style.check_tidy(self.root, self.root / "build", ["ir"])
        return code, printed.getvalue()

    def assert_clean(self, known):
        self.assertEqual(self.tidy(), (0, f"tidy: {known} files known to be clean, "
                                          f"{1 - known} found clean, 0 not\n"))

    def test_what_is_wrong_is_found_each_time(self):
        self.write("ir/first.cpp", WRONG)
        for _ in range(2):
            code, printed = self.tidy()
            self.assertEqual(code, 1)
            self.assertIn("ir/first.cpp:2:21: error: the const qualified parameter 'big'", printed)

    def test_what_is_clean_is_remembered_until_anything_changes(self):
        self.write("ir/first.cpp", CLEAN)
        self.assert_clean(known=0)
        self.assert_clean(known=1)
        self.compiled_with("-DSECOND=0")
        self.assert_clean(known=0)
        self.write(".clang-tidy", (ROOT / ".clang-tidy").read_text() + "# ...\n")
        self.assert_clean(known=0)
        self.assert_clean(known=1)

    def test_a_changed_header_is_looked_at(self):
        self.write("ir/first.cpp", WRONG)
        self.write("ir/big.h", CHEAP)
        self.assert_clean(known=0)
        self.write("ir/big.h", COPIES)
        self.assertEqual(self.tidy()[0], 1)

    def test_a_file_that_does_not_parse_is_not_clean(self):
        self.write("ir/first.cpp", '#include "ir/none.h"\n')
        self.assertEqual(self.tidy()[0], 1)


if __name__ == "__main__":
    unittest.main()

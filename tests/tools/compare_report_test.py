#!/usr/bin/env python3
"""Proves that the tables of tools/bench/compare take the right figures, on results made up here."""
import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tools" / "bench"))
import compare_report  # noqa: E402
import workloads  # noqa: E402

LIMITS = {"read": 32e9, "copy": 40e9, "add": 38e9, "cache read": 90e9, "cache copy": 100e9, "flops": 100e9}
SOFTMAX = {
    "cermet": {"seconds": 0.002}, "hand": {"seconds": 0.001},
    "torch": {"seconds": 0.008}, "torch+jemalloc": {"seconds": 0.006},
    "jax": {"seconds": 0.0001, "wrong": True}, "mlx": {"missing": "not installed: no wheel"},
    "numpy": {"seconds": 0.02},
}
NORM = {"cermet": {"seconds": 0.004}, "numpy": {"seconds": 0.002}}
DATA = {
    "machine": "a machine", "date": "2000-01-01", "missing": {"drjit": "not installed: no LLVM"},
    "threads": {"1": {"limits": LIMITS, "results": {"W2": SOFTMAX, "W3a": NORM}}},
    "first": {"W2": {"cermet": {"cold": 0.05, "warm": 0.001, "peak_mb": 61.0}}},
}


def cells(table, row):
    line = next(line for line in table.splitlines() if line.startswith(f"| {row}"))
    return [cell.strip() for cell in line.strip("|").split("|")]


class Tables(unittest.TestCase):
    def test_times(self):
        table = compare_report.times_table(DATA, "1")
        self.assertEqual(cells(table, "ms"), ["ms", "Cermet", "PyTorch", "NumPy", "best peer / Cermet",
                                              "by hand", "Cermet / by hand", "limit"])
        # 32 MB at 40 GB/s; the wrong result of JAX is no figure, though it is the fastest.
        self.assertEqual(cells(table, "W2"), ["W2 softmax 4096 x 1024", "2", "**6ʲ**", "20", "3.00", "1",
                                              "2.00", "0.839"])

    def test_means(self):
        table = compare_report.summary_table(DATA)
        self.assertEqual(cells(table, "W2"), ["W2 softmax", "3", "10", "3", "0.5"])
        self.assertEqual(cells(table, "W3"), ["W3 layer norm", "-", "0.5", "0.5", "-"])
        self.assertEqual(cells(table, "geometric"), ["geometric mean", "3", "2.2", "1.2", "0.5"])

    def test_reasons(self):
        why = compare_report.why_not(DATA)
        self.assertIn("* drjit: not installed: no LLVM", why)
        self.assertIn("* mlx: not installed: no wheel (W2)", why)
        self.assertIn("* jax: another result than all others (W2)", why)

    def test_claims(self):
        table = compare_report.claims_table({"claims": {"record_an_operation": 3.5e-7, "error_of_sum": 2e-9}})
        self.assertEqual(cells(table, "recording an"), ["recording an operation, ns", "350", "200"])

    def test_limit_of_what_fits_in_the_cache(self):
        small = workloads.Workload("W0", "", bytes=8 << 20, flops=10**9)
        self.assertEqual(compare_report.limit(small, LIMITS), 10)
        moving = workloads.Workload("W0", "", bytes=10**6)
        self.assertEqual(compare_report.limit(moving, LIMITS), 0.01)

    def test_readme(self):
        with tempfile.TemporaryDirectory() as folder:
            results, readme = pathlib.Path(folder, "r.json"), pathlib.Path(folder, "README.md")
            results.write_text(json.dumps(DATA))
            readme.write_text("before\n<!-- CPU tables: begin -->\nstale\n<!-- CPU tables: end -->\nafter\n")
            subprocess.run([sys.executable, ROOT / "tools/bench/compare_report.py", results, "--readme", readme],
                           check=True, stdout=subprocess.DEVNULL)
            text = readme.read_text()
            self.assertTrue(text.startswith("before\n") and text.endswith("after\n"))
            self.assertNotIn("stale", text)
            self.assertIn("| W2 softmax 4096 x 1024: cold, ms | 50 |", text)


class Inputs(unittest.TestCase):
    def test_every_workload_is_in_a_group(self):
        self.assertEqual({w.group for w in workloads.WORKLOADS}, set(workloads.GROUPS))


if __name__ == "__main__":
    unittest.main()

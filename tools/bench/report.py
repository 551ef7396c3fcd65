#!/usr/bin/env python3
"""Joins what bench_gpu and gpu_torch.py measured to the table of README.md.

usage: report.py OURS.json [THEIRS.json] [--why TEXT] [--write README.md]

Prints the table; --write puts it between the marks of the README instead. --why says why there is
no THEIRS.json.
"""

import argparse
import datetime
import json
import pathlib

import marks

# The least that a case should reach: of the measured copy bandwidth if it is bound by memory, of
# cuBLAS (eager PyTorch) if it is a product; or the most microseconds of the host's time.
GOALS = {
    "matmul bfloat16": 0.60,
    "matmul float32, exact": 0.85,
    "matmul float32 as tf32": None,
    "host: four small products": None,
    "host: launching them again": 10.0,
}
MEMORY_GOAL = 0.90


def rate(case, seconds):
    """The case's rate as text."""
    if seconds is None:
        return "-"
    if isinstance(seconds, str):
        return seconds
    if "bytes" in case:
        return f"{case['bytes'] / seconds / 1e9:.0f} GB/s"
    if "flops" in case:
        return f"{case['flops'] / seconds / 1e12:.1f} TFLOP/s"
    return f"{seconds * 1e6:.1f} us"


def reached(case, copy, eager):
    """(what was reached, the goal), as texts."""
    name, seconds = case["name"], case["seconds"]
    if name == "copy":
        return "", ""
    if "bytes" in case:
        share = case["bytes"] / seconds / (copy["bytes"] / copy["seconds"])
        return f"{share:.0%} of copy", f"{MEMORY_GOAL:.0%}"
    goal = GOALS.get(name)
    if "flops" in case:
        share = f"{eager / seconds:.0%} of cuBLAS" if isinstance(eager, float) else "-"
        return share, f"{goal:.0%}" if goal else ""
    return "", f"{goal:.0f} us" if goal else ""


def table(ours, theirs, why, date):
    eager = theirs["eager"] if theirs else {}
    compiled = theirs["compile"] if theirs else {}
    copy = next(case for case in ours["results"] if case["name"] == "copy")
    versions = theirs["versions"] if theirs else f"no PyTorch: {why}"
    lines = [
        f"{ours['machine']}, {date}; {versions}.",
        "",
        "| | Cermet | PyTorch | torch.compile | reached | goal |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for case in ours["results"]:
        name = case["name"]
        cells = [rate(case, s) for s in (case["seconds"], eager.get(name), compiled.get(name))]
        lines.append(f"| {name} | " + " | ".join([*cells, *reached(case, copy, eager.get(name))]) + " |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("ours", type=pathlib.Path)
    parser.add_argument("theirs", type=pathlib.Path, nargs="?")
    parser.add_argument("--why", default="not asked for")
    parser.add_argument("--write", type=pathlib.Path)
    arguments = parser.parse_args()
    ours = json.loads(arguments.ours.read_text())
    found = arguments.theirs is not None and arguments.theirs.exists()
    theirs = json.loads(arguments.theirs.read_text()) if found else None
    text = table(ours, theirs, arguments.why, datetime.date.today().isoformat())
    if arguments.write:
        marks.write(arguments.write, "GPU table", text)
    print(text)


main()

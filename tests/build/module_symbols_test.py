#!/usr/bin/env python3
"""The LLVM module exports its entry and nothing else, and no program of ours contains LLVM.

    module_symbols_test.py MODULE PROGRAM...
"""
import subprocess
import sys

ENTRY = "cermet_llvm_backend"


def symbols(*arguments):
    text = subprocess.run(["nm", "--defined-only", "--format=posix", *arguments],
                          capture_output=True, text=True, check=True).stdout
    return {line.split()[0] for line in text.splitlines()}


def main():
    module, *programs = sys.argv[1:]
    exported = symbols("--dynamic", module)
    assert exported == {ENTRY}, f"{module} exports {sorted(exported)[:20]}"
    inside = symbols(module)
    assert not inside or any("4llvm" in name for name in inside), "nm shows no LLVM where it must be"
    for program in programs:
        found = [name for name in symbols(program) if "4llvm" in name or name.startswith("LLVM")]
        assert not found, f"{program} contains {found[:20]}"
    print(f"{module} exports {ENTRY} only; {len(programs)} programs hold no LLVM")


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Checks what the compiler cannot: that the layers include in one direction only.

The table below is the architecture. Beside it: no cycles between headers or between folders, includes
that are quoted and written from the root, LLVM only where LLVM belongs, `#pragma once`, source lists
that are complete, and no text that only means something on one machine.

    tools/check_layers.py [ROOT]        prints one line for each violation, exits 1 if there is one
"""
import pathlib
import re
import sys

# layer: the layers it may include, itself included. "api" is include/cermet: vocabulary and public API.
LAYERS = {
    "api": {"api"},
    "ir": {"api", "ir"},
    "compiler": {"api", "ir", "compiler"},
    "runtime": {"api", "ir", "compiler", "runtime"},
    "tests": {"api", "ir", "compiler", "runtime", "tests", "tools"},
    "tools": {"api", "ir", "compiler", "runtime", "tools"},
}
LLVM_FOLDER = "compiler/llvm"
PACKAGE_TEST = "tests/package/"  # a project of its own, which uses the installed library
# What else a layer may include in angle brackets, beside the standard library and POSIX.
THIRD_PARTY = {
    "api": set(),
    "ir": {"fmt"},
    "compiler": {"fmt"},
    "runtime": {"fmt", "zip.h", "xxhash.h"},
    "tests": None,  # anything
    "tools": None,
}
LIBRARIES = {"fmt", "zip.h", "xxhash.h", "CLI", "nlohmann", "catch2", "llvm", "llvm-c", "clang"}

SOURCE = {".h", ".cpp", ".def", ".inc"}
TEXT = SOURCE | {".md", ".txt", ".py", ".sh", ".cmake", ".json", ".cir", ".yml", ".in", ""}
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.M)
# Spelt so that the pattern does not find itself.
MACHINE_PATH = re.compile(r"(?<![\w.])/(?:home|root|work|farm|Users)/[\w.]|\.\./share[d]")


def layer_of(path):
    """The layer of a path relative to the root, or None."""
    parts = path.split("/")
    if parts[0] == "include":
        return "api"
    return parts[0] if parts[0] in LAYERS else None


def resolve(root, path, spelling):
    """The file that a quoted include names, relative to the root."""
    bases = ["include", "."] + (["tests"] if path.startswith("tests/") else [])
    for base in bases:
        found = pathlib.PurePosixPath(base, spelling).as_posix()
        if (root / found).is_file():
            return found
    return None


def find_cycle(graph):
    """Nodes along one cycle of {node: set of nodes}, or None. Iterative depth-first search."""
    done, on_path = set(), {}
    for start in sorted(graph):
        if start in done:
            continue
        path, stack = [start], [iter(sorted(graph[start]))]
        on_path = {start: 0}
        while stack:
            for node in stack[-1]:
                if node in on_path:
                    return path[on_path[node]:] + [node]
                if node not in done and node in graph:
                    on_path[node] = len(path)
                    path.append(node)
                    stack.append(iter(sorted(graph[node])))
                    break
            else:
                stack.pop()
                node = path.pop()
                del on_path[node]
                done.add(node)
    return None


def check(root):
    root = pathlib.Path(root)
    problems = []
    headers, folders = {}, {}
    files = [p for top in ("include", "ir", "compiler", "runtime", "tests", "tools")
             for p in sorted((root / top).rglob("*")) if p.is_file()]
    files += [p for p in root.iterdir() if p.is_file() and p.name != ".git"]

    listed = ""
    for file in files:
        if file.name == "CMakeLists.txt" or file.suffix == ".cmake":
            base = file.parent.relative_to(root).as_posix()
            listed += "".join(f" {base}/{word} " for word in re.split(r"[\s()]+", file.read_text()))

    for file in files:
        path = file.relative_to(root).as_posix()
        if file.suffix not in TEXT or "__pycache__" in path:
            continue
        text = file.read_text(errors="replace")
        for number, line in enumerate(text.splitlines(), 1):
            if MACHINE_PATH.search(line):
                problems.append(f"{path}:{number}: a path of one machine: {line.strip()}")
        layer = layer_of(path)
        if file.suffix not in SOURCE or layer is None:
            continue

        if file.suffix == ".h" and not re.search(r"^#pragma once$", text, re.M):
            problems.append(f"{path}:1: no #pragma once")
        if layer != "tests" and re.search(r"^\s*using namespace\b", text, re.M):
            problems.append(f"{path}:1: using namespace")
        if (file.suffix == ".cpp" and not path.startswith("tests/package/")
                and f" {path} " not in listed):
            problems.append(f"{path}:1: in no CMakeLists.txt")

        edges = headers.setdefault(path, set())
        for match in INCLUDE.finditer(text):
            where = f"{path}:{text.count(chr(10), 0, match.start()) + 1}"
            bracket, spelling = match.groups()
            first = spelling.split("/")[0]
            if first in ("llvm", "llvm-c") and not path.startswith(LLVM_FOLDER + "/"):
                problems.append(f"{where}: <{spelling}> outside {LLVM_FOLDER}")
                continue
            if bracket == "<":
                allowed = THIRD_PARTY[layer]
                if first in ("cermet", *LAYERS) and not path.startswith(PACKAGE_TEST):
                    problems.append(f"{where}: <{spelling}> is ours: write it in quotes")
                elif (allowed is not None and first in LIBRARIES - allowed
                      and not path.startswith(LLVM_FOLDER + "/")):
                    problems.append(f"{where}: {layer} may not include <{spelling}>")
                continue
            target = resolve(root, path, spelling)
            if target is None:
                problems.append(f'{where}: "{spelling}" is not written from the root, or not there')
                continue
            edges.add(target)
            other = layer_of(target)
            if other not in LAYERS[layer]:
                problems.append(f'{where}: {layer} may not include {other} ("{spelling}")')
            if target.startswith("include/") and spelling.startswith("include/"):
                problems.append(f'{where}: write "{spelling[len("include/"):]}"')
            source, sink = (pathlib.PurePosixPath(p).parent.as_posix() for p in (path, target))
            if source != sink:
                folders.setdefault(source, set()).add(sink)

    for what, graph in (("headers", headers), ("folders", folders)):
        cycle = find_cycle(graph)
        if cycle:
            problems.append(f"{what} include each other: {' -> '.join(cycle)}")
    return problems


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent.parent)
    problems = check(root)
    print("\n".join(problems) if problems else "layers: in order")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())

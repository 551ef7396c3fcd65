#!/usr/bin/env python3
"""clang-format and clang-tidy over the project's own code; exit status 77 where the tool is missing.

    tools/check_style.py format
    tools/check_style.py tidy BUILD_DIR [FOLDER...]

tidy looks at every .cpp of the folders, or of the whole tree, with the definitions and include paths
that BUILD_DIR compiles it with, whichever compiler that is. It costs seconds for each file. So what
was clean is remembered in BUILD_DIR with a digest of the file and of all of ours that it includes: the
next run looks only at what changed.
"""
import functools
import hashlib
import json
import pathlib
import shlex
import shutil
import subprocess
import sys

import check_layers

ROOT = pathlib.Path(__file__).resolve().parent.parent
FOLDERS = ("include", "ir", "compiler", "runtime", "tests", "tools")
SKIPPED = 77
# What is only looked at where it is built, as other builds may lack the libraries that it includes.
OPTIONAL = "tools/bench/cpu/"


def program(name):
    """The path of the tool, and its version as it prints it."""
    found = shutil.which(f"{name}-19") or shutil.which(name)
    version = subprocess.run([found, "--version"], capture_output=True, text=True).stdout if found else ""
    if "version 19." not in version:
        print(f"SKIPPED: {name} 19 is not installed")
        sys.exit(SKIPPED)
    return found, version


def sources(root, folders, suffixes):
    return [p.relative_to(root).as_posix() for folder in folders
            for p in sorted((root / folder).rglob("*")) if p.suffix in suffixes]


def check_format():
    clang_format, _ = program("clang-format")
    return subprocess.run([clang_format, "--dry-run", "-Werror",
                           *sources(ROOT, FOLDERS, (".h", ".cpp"))], cwd=ROOT).returncode


def parser_flags(root, build):
    """{source file: the flags of its compile command that decide what the text means}.

    The others would be an obstacle: clang-tidy is not the compiler that made the precompiled headers.
    """
    flags = {}
    for entry in json.loads((build / "compile_commands.json").read_text()):
        file, words = pathlib.Path(entry["file"]), shlex.split(entry["command"])
        if file.is_relative_to(root):
            flags[file.relative_to(root).as_posix()] = [
                word for before, word in zip(words, words[1:])
                if word.startswith(("-D", "-I", "-std=")) or "-isystem" in (before, word)]
    return flags


class Texts:
    """What the files of a tree say, by themselves and together with all of the tree they include."""

    def __init__(self, root):
        self.root = root

    @functools.cache
    def includes(self, path):
        spellings = check_layers.INCLUDE.findall((self.root / path).read_text())
        found = (check_layers.resolve(self.root, path, spelling) for _, spelling in spellings)
        return sorted({other for other in found if other})

    def digest(self, path, *extra):
        """Of the file, of what it includes, directly or not, and of the strings given."""
        seen, to_do = {path}, [path]
        while to_do:
            new = set(self.includes(to_do.pop())) - seen
            seen |= new
            to_do.extend(new)
        texts = [*extra, *(p + "\n" + (self.root / p).read_text() for p in sorted(seen))]
        return hashlib.sha256("\0".join(texts).encode()).hexdigest()


def check_tidy(root, build, folders):
    clang_tidy, version = program("clang-tidy")
    flags, texts = parser_flags(root, build), Texts(root)
    settings = (root / ".clang-tidy").read_text()
    remembered = build / "tidy"

    # For what this build has no target for, as the project inside the tests.
    plain = ["-std=c++20", *(f"-I{root / folder}" for folder in ("include", ".", "tests"))]
    known, clean, bad = 0, 0, []
    for file in sources(root, folders, (".cpp",)):
        if file.startswith(OPTIONAL) and file not in flags:
            continue
        used = flags.get(file, plain)
        digest = texts.digest(file, version, settings, *used)
        stamp = remembered / f"{file}.clean"
        if stamp.exists() and stamp.read_text() == digest:
            known += 1
            continue
        result = subprocess.run([clang_tidy, "--quiet", str(root / file), "--", *used],
                                cwd=root, capture_output=True, text=True)
        if result.returncode == 0:
            stamp.parent.mkdir(parents=True, exist_ok=True)
            stamp.write_text(digest)
            clean += 1
        else:
            print(result.stdout, result.stderr, sep="", flush=True)
            bad.append(file)
    print(f"tidy: {known} files known to be clean, {clean} found clean, {len(bad)} not", *bad)
    return 1 if bad else 0


def main():
    match sys.argv[1:]:
        case ["format"]:
            return check_format()
        case ["tidy", build, *folders]:
            return check_tidy(ROOT, pathlib.Path(build).resolve(), folders or FOLDERS)
    print(__doc__)
    return 2


if __name__ == "__main__":
    sys.exit(main())

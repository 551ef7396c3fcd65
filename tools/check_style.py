#!/usr/bin/env python3
"""clang-format and clang-tidy over the project's own code; exit status 77 where the tool is missing.

    tools/check_style.py format
    tools/check_style.py tidy BUILD_DIR [SECONDS]

tidy looks at the library and the tools as BUILD_DIR compiles them. What was clean is remembered there
by the content of the file and of all it includes, so a second run looks only at what changed. SECONDS
bounds a run; what it did not get to is counted on the last line and is looked at by the next one.
As it takes minutes at first, it runs only where CERMET_TIDY is set.
"""
import concurrent.futures
import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
FOLDERS = ("include", "ir", "compiler", "runtime", "tests", "tools")
TIDY_FOLDERS = ("ir", "compiler", "runtime", "tools")
SKIPPED = 77


def program(name):
    found = shutil.which(f"{name}-19") or shutil.which(name)
    version = subprocess.run([found, "--version"], capture_output=True, text=True).stdout if found else ""
    if "version 19." not in version:
        print(f"SKIPPED: {name} 19 is not installed")
        sys.exit(SKIPPED)
    return found


def check_format():
    clang_format = program("clang-format")
    files = [str(p.relative_to(ROOT)) for folder in FOLDERS
             for p in sorted((ROOT / folder).rglob("*")) if p.suffix in (".h", ".cpp")]
    return subprocess.run([clang_format, "--dry-run", "-Werror", *files], cwd=ROOT).returncode


def project_dependencies(build):
    """{object file: the project's files that it was compiled from}, as ninja recorded them."""
    text = subprocess.run(["ninja", "-C", str(build), "-t", "deps"],
                          capture_output=True, text=True, check=True).stdout
    result, current = {}, None
    for line in text.splitlines():
        if line and not line.startswith(" ") and ": #deps" in line:
            current = result.setdefault(line.split(":")[0], [])
        elif line.startswith(" ") and current is not None:
            path = pathlib.Path(os.path.normpath(build / line.strip()))
            if path.is_relative_to(ROOT) and not path.is_relative_to(build):
                current.append(path)
    return result


def check_tidy(build, seconds):
    if not os.environ.get("CERMET_TIDY"):
        print("SKIPPED: CERMET_TIDY is not set")
        return SKIPPED
    clang_tidy = program("clang-tidy")
    build = pathlib.Path(build).resolve()
    remembered = build / "tidy"
    remembered.mkdir(exist_ok=True)
    dependencies = project_dependencies(build)

    work = []
    for entry in json.loads((build / "compile_commands.json").read_text()):
        file = pathlib.Path(entry["file"])
        if not any(file.is_relative_to(ROOT / folder) for folder in TIDY_FOLDERS):
            continue
        output = re.search(r" -o (\S+)", entry["command"]).group(1)
        digest = hashlib.sha256(entry["command"].encode() + (ROOT / ".clang-tidy").read_bytes())
        for path in sorted(dependencies.get(output, [file])):
            digest.update(path.read_bytes())
        stamp = remembered / digest.hexdigest()
        if not stamp.exists():
            work.append((file, stamp))

    # What changed last is the most likely to be wrong.
    work.sort(key=lambda item: -item[0].stat().st_mtime)
    end = time.monotonic() + seconds

    def run(item):
        file, stamp = item
        if time.monotonic() > end:
            return None
        result = subprocess.run(
            [clang_tidy, "--quiet", "-p", str(build), "--extra-arg=-Wno-unknown-warning-option",
             "--extra-arg=-Wno-deprecated-declarations", str(file)], capture_output=True, text=True)
        if result.returncode == 0:
            stamp.touch()
        else:
            print(result.stdout, result.stderr, sep="", flush=True)
        return result.returncode == 0

    jobs = int(os.environ.get("CERMET_TEST_JOBS", os.cpu_count()))
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        results = list(pool.map(run, work))
    print(f"tidy: {results.count(True)} clean, {results.count(False)} not, "
          f"{results.count(None)} left for the next run")
    return 1 if False in results else 0


def main():
    match sys.argv[1:]:
        case ["format"]:
            return check_format()
        case ["tidy", build, *seconds]:
            return check_tidy(build, float(seconds[0]) if seconds else 1e9)
    print(__doc__)
    return 2


if __name__ == "__main__":
    sys.exit(main())

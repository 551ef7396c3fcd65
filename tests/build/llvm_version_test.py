#!/usr/bin/env python3
"""An LLVM of another version is refused when the build is configured, by a message that says so.

    llvm_version_test.py SOURCE_DIR COMPILER
"""
import pathlib
import subprocess
import sys
import tempfile

VERSION_FILE = """
set(PACKAGE_VERSION {version})
if(PACKAGE_VERSION VERSION_GREATER_EQUAL PACKAGE_FIND_VERSION)
  set(PACKAGE_VERSION_COMPATIBLE TRUE)
endif()
"""


def configure(source, compiler, version):
    """What cmake says to an LLVM of that version; the LLVM is no more than its package files."""
    with tempfile.TemporaryDirectory() as folder:
        llvm = pathlib.Path(folder, "llvm")
        llvm.mkdir()
        (llvm / "LLVMConfig.cmake").write_text(f"set(LLVM_PACKAGE_VERSION {version})\n")
        (llvm / "LLVMConfigVersion.cmake").write_text(VERSION_FILE.format(version=version))
        result = subprocess.run(
            ["cmake", "-S", source, "-B", f"{folder}/build", "-G", "Ninja", f"-DLLVM_DIR={llvm}",
             f"-DCMAKE_CXX_COMPILER={compiler}", "-DCERMET_TESTS=OFF", "-DCERMET_TOOLS=OFF"],
            capture_output=True, text=True)
        return result.returncode, " ".join(result.stderr.split())


def main():
    source, compiler = sys.argv[1:]
    status, text = configure(source, compiler, "20.1.0")
    assert status != 0 and "LLVM 20.1.0" in text and "19.1 is needed" in text, text
    status, text = configure(source, compiler, "19.2.0")
    assert status != 0 and "LLVM 19.2.0" in text and "19.1 is needed" in text, text
    print("refused: 20.1.0, 19.2.0")


if __name__ == "__main__":
    main()

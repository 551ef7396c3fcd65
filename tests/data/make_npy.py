#!/usr/bin/env python3
"""Writes the .npy and .npz files that tests/runtime/npy_file_test.cpp reads, with NumPy itself.

    tests/data/make_npy.py        into tests/data/npy
"""
import pathlib
import struct
import warnings
import zipfile

import numpy as np

out = pathlib.Path(__file__).parent / "npy"
out.mkdir(exist_ok=True)


def values(dtype, count):
    """The same rule is in the test: element i of every file."""
    i = np.arange(count)
    if dtype == np.bool_:
        return i % 3 == 0
    if np.issubdtype(dtype, np.unsignedinteger):
        return (i * 7 + 3).astype(dtype)
    if np.issubdtype(dtype, np.signedinteger):
        return (i * 7 - 40).astype(dtype)
    return (i * 0.25 - 2).astype(dtype)


for code in ["b1", "u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8"]:
    little = values(np.dtype(code).type, 24).reshape(2, 3, 4).astype("<" + code)
    np.save(out / f"c_{code}.npy", little)
    np.save(out / f"fortran_{code}.npy", np.asfortranarray(little))
    np.save(out / f"big_{code}.npy", little.astype(">" + code))

f4 = values(np.float32, 24)
np.save(out / "scalar.npy", f4[5])
np.save(out / "vector.npy", f4)
np.save(out / "empty.npy", np.zeros((0,), np.float32))
np.save(out / "empty_middle.npy", np.zeros((3, 0, 2), np.int64))
np.save(out / "one.npy", f4[:1].reshape(1, 1, 1, 1, 1, 1, 1))
for version in [(1, 0), (2, 0), (3, 0)]:
    with open(out / f"version_{version[0]}.npy", "wb") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        np.lib.format.write_array(file, f4.reshape(4, 6), version=version)
np.save(out / "object.npy", np.array([{"a": 1}, None], object), allow_pickle=True)
np.save(out / "structured.npy", np.zeros(3, [("x", "<f4"), ("y", "<i2")]))
np.save(out / "complex.npy", np.zeros(3, np.complex64))
np.save(out / "text.npy", np.array(["a", "bc"]))
np.save(out / "void2.npy", np.zeros(3, "V2"))

arrays = {"weights": f4.reshape(4, 6), "layer/bias": f4[:3], "labels": values(np.int64, 5),
          "step": np.int64(7), "none": np.zeros((0, 4), np.float64)}
np.savez(out / "stored.npz", **arrays)
np.savez_compressed(out / "deflated.npz", **arrays)


def hostile(name, members, **how):
    with zipfile.ZipFile(out / name, "w", **how) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for member, content in members:
            archive.writestr(zipfile.ZipInfo(member), content)


one = (out / "scalar.npy").read_bytes()
hostile("parent.npz", [("../x.npy", one)])
hostile("inner_parent.npz", [("a/../../x.npy", one)])
hostile("absolute.npz", [("/etc/x.npy", one)])
hostile("backslash.npz", [("..\\x.npy", one)])
hostile("drive.npz", [("C:x.npy", one)])
hostile("twice.npz", [("x.npy", one), ("x.npy", one)])
hostile("nameless.npz", [(".npy", one)])
hostile("other_file.npz", [("x.npy", one), ("readme.txt", b"hello")])
hostile("object.npz", [("x.npy", (out / "object.npy").read_bytes())])
hostile("short.npz", [("x.npy", one[:-1])])
hostile("not_npy.npz", [("x.npy", b"no array")])

# A member that claims 4 GiB - 2 of content in a few deflated bytes: in both headers of the zip.
bomb = bytearray()
header = np.lib.format.magic(1, 0) + struct.pack("<H", 118) + (
    b"{'descr': '|u1', 'fortran_order': False, 'shape': (4294967166,), }".ljust(117) + b"\n")
with zipfile.ZipFile(out / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive:
    archive.writestr("x.npy", header + bytes(1000))
content = bytearray((out / "bomb.npz").read_bytes())
claimed = struct.pack("<I", 0xFFFFFFFE)
content[22:26] = claimed
central = content.index(b"PK\x01\x02")
content[central + 24:central + 28] = claimed
(out / "bomb.npz").write_bytes(content)

# A stored member whose checksum is wrong.
content = bytearray((out / "stored.npz").read_bytes())
at = content.index(f4.tobytes()[20:40])
content[at] ^= 1
(out / "checksum.npz").write_bytes(content)

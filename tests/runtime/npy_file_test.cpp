#include "runtime/npy_file.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <random>

#include "cermet/error.h"
#include "support/catch.h"
#include "support/objects.h"
#include "support/paths.h"

using Catch::Matchers::ContainsSubstring;
using cermet::BFloat16;
using cermet::DType;
using cermet::Error;
using cermet::Float16;
using cermet::Shape;
using cermet::runtime::Array;
using cermet::runtime::NamedArrays;
using cermet::runtime::npy_header;
using cermet::runtime::parse_npy;
using cermet::runtime::read_npy;
using cermet::runtime::read_npz;
using cermet::runtime::write_npy;
using cermet::runtime::write_npz;
using cermet::test::read_bytes;
using cermet::test::TemporaryDirectory;
using cermet::test::write_text;

namespace {

std::filesystem::path data(const std::string& file) {
  return cermet::test::source_dir() / "tests" / "data" / "npy" / file;
}

// The rule of tests/data/make_npy.py.
template <class T>
T value(size_t i) {
  if constexpr (std::is_same_v<T, bool>)
    return i % 3 == 0;
  else if constexpr (std::is_integral_v<T> && std::is_unsigned_v<T>)
    return T(i * 7 + 3);
  else if constexpr (std::is_integral_v<T>)
    return T(int(i) * 7 - 40);
  else
    return T(float(i) * 0.25f - 2.0f);
}

Array expected(DType dtype, const Shape& shape) {
  Array array{dtype, shape, {}};
  cermet::visit(dtype, [&](auto zero) {
    using T = decltype(zero);
    const auto count = size_t(cermet::numel(shape));
    array.data.resize(count * sizeof(T));
    for (size_t i = 0; i < count; ++i) {
      const T element = value<T>(i);
      std::memcpy(&array.data[i * sizeof(T)], &element, sizeof(T));
    }
  });
  return array;
}

void check_equal(const Array& got, const Array& want) {
  CHECK(got.dtype == want.dtype);
  CHECK(got.shape == want.shape);
  CHECK(got.data == want.data);
}

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

// A version 1 file with this dictionary.
std::string file_with(const std::string& dictionary, size_t data_bytes = 0) {
  return std::string("\x93NUMPY\1\0", 8) + char(dictionary.size() & 255) +
         char(dictionary.size() >> 8) + dictionary + std::string(data_bytes, '\0');
}

Array parse_dictionary(const std::string& dictionary, size_t data_bytes = 0) {
  return parse_npy(bytes_of(file_with(dictionary, data_bytes)), "f");
}

const std::pair<const char*, DType> codes[] = {
    {"b1", DType::Bool}, {"u1", DType::U8},  {"u2", DType::U16}, {"u4", DType::U32},
    {"u8", DType::U64},  {"i1", DType::I8},  {"i2", DType::I16}, {"i4", DType::I32},
    {"i8", DType::I64},  {"f2", DType::F16}, {"f4", DType::F32}, {"f8", DType::F64}};

}  // namespace

TEST_CASE("npy: files of NumPy are read, every dtype, both byte orders, both memory orders") {
  for (const auto& [code, dtype] : codes)
    for (const char* kind : {"c_", "fortran_", "big_"}) {
      INFO(kind << code);
      check_equal(read_npy(data(std::string(kind) + code + ".npy")), expected(dtype, {2, 3, 4}));
    }
}

TEST_CASE("npy: scalars, empty arrays, many axes and all versions of the format") {
  const Array scalar = read_npy(data("scalar.npy"));
  CHECK(scalar.shape == Shape{});
  const std::vector<std::byte> vector = read_npy(data("vector.npy")).data;
  CHECK(scalar.data == std::vector<std::byte>(vector.begin() + 20, vector.begin() + 24));
  check_equal(read_npy(data("vector.npy")), expected(DType::F32, {24}));
  check_equal(read_npy(data("empty.npy")), expected(DType::F32, {0}));
  check_equal(read_npy(data("empty_middle.npy")), expected(DType::I64, {3, 0, 2}));
  check_equal(read_npy(data("one.npy")), expected(DType::F32, {1, 1, 1, 1, 1, 1, 1}));
  for (const char* version : {"1", "2", "3"})
    check_equal(read_npy(data(std::string("version_") + version + ".npy")),
                expected(DType::F32, {4, 6}));
}

TEST_CASE("npy: writing gives the bytes that NumPy writes") {
  TemporaryDirectory directory;
  const auto path = directory.path() / "x.npy";
  for (const auto& [code, dtype] : codes) {
    INFO(code);
    write_npy(path, expected(dtype, {2, 3, 4}));
    CHECK(read_bytes(path) == read_bytes(data(std::string("c_") + code + ".npy")));
  }
  for (const char* file : {"vector", "empty", "empty_middle", "one", "version_1", "scalar"}) {
    INFO(file);
    const auto original = data(std::string(file) + ".npy");
    write_npy(path, read_npy(original));
    CHECK(read_bytes(path) == read_bytes(original));
  }
  CHECK(std::distance(std::filesystem::directory_iterator(directory.path()), {}) == 1);
  CHECK_THROWS_AS(write_npy(directory.path() / "missing" / "x.npy", expected(DType::F32, {2})),
                  cermet::DeviceError);
}

TEST_CASE("npy: bfloat16 makes the round trip under its name") {
  TemporaryDirectory directory;
  const auto path = directory.path() / "x.npy";
  const Array array = expected(DType::BF16, {3, 5});
  write_npy(path, array);
  check_equal(read_npy(path), array);
  const std::vector<std::byte> bytes = read_bytes(path);
  const std::string text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  CHECK_THAT(text, ContainsSubstring("'descr': 'bfloat16'"));
  CHECK_THROWS_WITH(
      read_npy(data("void2.npy")),
      ContainsSubstring("void2.npy") && ContainsSubstring("bfloat16 array of ml_dtypes"));
}

TEST_CASE("npy: a header for very many axes uses version 2 and is read again") {
  const Shape shape(40000, 1);
  const std::string header = npy_header(DType::F32, shape);
  CHECK(header[6] == 2);
  CHECK(header.size() % 64 == 0);
  CHECK(parse_npy(bytes_of(header + std::string(4, '\0'))).shape == shape);
}

TEST_CASE("npy: dictionaries in any order and spelling that Python allows") {
  CHECK(parse_dictionary("{\"shape\":(2,),'fortran_order':True , 'descr' : '|u1'}", 2).shape ==
        Shape{2});
  CHECK(parse_dictionary("{ 'descr': '<i8',\n'fortran_order': False, 'shape': (3L, 1L)}\n", 24)
            .shape == Shape{3, 1});
  CHECK(parse_dictionary("{'descr': '?', 'fortran_order': False, 'shape': ()}", 1).dtype ==
        DType::Bool);
  const std::string bools = file_with("{'descr': '|b1', 'fortran_order': False, 'shape': (2,)}");
  CHECK(parse_npy(bytes_of(bools + "\x07" + std::string(1, '\0'))).data ==
        std::vector<std::byte>{std::byte{1}, std::byte{0}});
}

TEST_CASE("npy: wrong headers are refused with the file and what was found") {
  const auto refuses = [](const std::string& dictionary, const std::string& text) {
    INFO(dictionary);
    CHECK_THROWS_WITH(parse_dictionary(dictionary, 64),
                      ContainsSubstring("read_npy: f: ") && ContainsSubstring(text));
    CHECK_THROWS_AS(parse_dictionary(dictionary, 64), Error);
  };
  const std::string order = "'fortran_order': False, ";
  refuses("", "expected '{'");
  refuses("{", "expected a string");
  refuses("{}", "'descr' is missing");
  refuses("{'descr': '<f4', 'shape': (2,)}", "'fortran_order' is missing");
  refuses("{'descr': '<f4', 'descr': '<f4', " + order + "'shape': (2,)}", "appears twice");
  refuses("{'descr': '<f4', " + order + "'shape': (2,), 'x': 1}", "key 'x' is not known");
  refuses("{'descr': '<f4', " + order + "'shape': (2,)} + 1", "more behind the dictionary");
  refuses("{'descr': '<f4', " + order + "'shape': (2,)", "expected '}'");
  refuses("{'descr': '<f4', " + order + "'shape': (2)}", "a number, not a tuple");
  refuses("{'descr': '<f4', " + order + "'shape': 2}", "expected '('");
  refuses("{'descr': '<f4', " + order + "'shape': (-2,)}", "the extent -2 is negative");
  refuses("{'descr': '<f4', " + order + "'shape': (2.0,)}", "expected");
  refuses("{'descr': '<f4', " + order + "'shape': (99999999999999999999,)}",
          "does not fit in 64 bits");
  refuses("{'descr': '<f4', " + order + "'shape': (4611686018427387904, 4)}",
          "more elements than can be counted");
  refuses("{'descr': '<f8', " + order + "'shape': (2305843009213693952,)}",
          "more elements than can be counted");
  refuses("{'descr': '<f4', " + order + "'shape': (10000000000000,)}",
          "takes 40000000000000 bytes, only 64 are left");
  refuses("{'descr': '<f4', 'fortran_order': 1, 'shape': (2,)}", "expected True or False");
  refuses("{'descr': 'f4\\n', " + order + "'shape': (2,)}", "has an escape");
  refuses("{'descr': '<f4, " + order, "descr '<f4, ' is not a dtype");
  refuses("{'descr", "the string has no end");
  for (const char* descr : {"<f16", "<c8", "<U2", "|S3", "<M8[s]", "<i3", "", "<", "f", "<<f4"})
    refuses(std::string("{'descr': '") + descr + "', " + order + "'shape': (2,)}",
            std::string("descr '") + descr + "' is not a dtype that is supported");
  refuses("{'descr': [('x', '<f4')], " + order + "'shape': (2,)}", "arrays of structures");
}

TEST_CASE("npy: other files, and arrays that are not plain numbers, are refused by kind") {
  CHECK_THROWS_WITH(read_npy(data("object.npy")), ContainsSubstring("never loaded"));
  CHECK_THROWS_WITH(read_npy(data("structured.npy")), ContainsSubstring("arrays of structures"));
  CHECK_THROWS_WITH(read_npy(data("complex.npy")), ContainsSubstring("'<c8' is not a dtype"));
  CHECK_THROWS_WITH(read_npy(data("text.npy")), ContainsSubstring("'<U2' is not a dtype"));
  CHECK_THROWS_WITH(read_npy(data("stored.npz")), ContainsSubstring("maybe an .npz"));
  CHECK_THROWS_WITH(parse_npy(bytes_of("\x80\x04\x95rest of it")), ContainsSubstring("pickled"));
  CHECK_THROWS_WITH(parse_npy(bytes_of("something else")), ContainsSubstring("\\x93NUMPY"));
  CHECK_THROWS_WITH(parse_npy({}), ContainsSubstring("it has only 0 bytes"));
  CHECK_THROWS_WITH(parse_npy(bytes_of(std::string_view("\x93NUMPY\4\0\0\0", 10))),
                    ContainsSubstring("version 4.0"));
  CHECK_THROWS_WITH(parse_npy(bytes_of(std::string_view("\x93NUMPY\2\0\xff\xff\xff\xff", 12))),
                    ContainsSubstring("claims a header of 4294967295 bytes"));
  CHECK_THROWS_WITH(read_npy("/no/such/file.npy"),
                    "read_npy: /no/such/file.npy: No such file or directory");
  CHECK_THROWS_WITH(read_npy("/"), "read_npy: /: not a regular file");
}

TEST_CASE("npy: a file cut off at any byte is refused") {
  for (const char* file : {"c_f4.npy", "fortran_i8.npy", "version_3.npy"}) {
    const std::vector<std::byte> whole = read_bytes(data(file));
    for (size_t length = 0; length < whole.size(); ++length) {
      const std::vector<std::byte> part(whole.begin(), whole.begin() + ptrdiff_t(length));
      try {
        parse_npy(part);
        FAIL(file << " was accepted with " << length << " bytes");
      } catch (const Error&) {
      }
    }
  }
}

TEST_CASE("npy: damaged files are refused or give an array of the size that its shape says") {
  const std::vector<std::byte> whole = read_bytes(data("fortran_f8.npy"));
  std::mt19937 random(11);
  for (int round = 0; round < 20000; ++round) {
    std::vector<std::byte> damaged = whole;
    for (int i = 0; i < 1 + round % 3; ++i)
      damaged[random() % 136] = std::byte(round % 2 ? random() : "0123456789(),'L-"[random() % 16]);
    try {
      const Array array = parse_npy(damaged);
      if (array.data.size() != size_t(cermet::numel(array.shape)) * cermet::size_of(array.dtype))
        FAIL("round " << round);
    } catch (const Error&) {
    }
  }
}

TEST_CASE("npz: files of NumPy are read in order, stored and deflated") {
  for (const char* file : {"stored.npz", "deflated.npz"}) {
    const NamedArrays arrays = read_npz(data(file));
    REQUIRE(arrays.size() == 5);
    CHECK(arrays[0].first == "weights");
    check_equal(arrays[0].second, expected(DType::F32, {4, 6}));
    CHECK(arrays[1].first == "layer/bias");
    check_equal(arrays[1].second, expected(DType::F32, {3}));
    CHECK(arrays[2].first == "labels");
    check_equal(arrays[2].second, expected(DType::I64, {5}));
    CHECK(arrays[3].first == "step");
    CHECK(arrays[3].second.shape == Shape{});
    CHECK(arrays[3].second.data[0] == std::byte{7});
    CHECK(arrays[4].first == "none");
    check_equal(arrays[4].second, expected(DType::F64, {0, 4}));
  }
}

TEST_CASE("npz: what is written is read again, and equal arrays give equal files") {
  TemporaryDirectory directory;
  const auto path = directory.path() / "x.npz";
  const NamedArrays arrays = read_npz(data("stored.npz"));
  cermet::runtime::NamedViews views;
  for (const auto& [name, array] : arrays) views.emplace_back(name, array);
  write_npz(path, views);
  const std::vector<std::byte> first = read_bytes(path);
  write_npz(path, views);  // over the old file
  CHECK(read_bytes(path) == first);
  const NamedArrays again = read_npz(path);
  REQUIRE(again.size() == arrays.size());
  for (size_t i = 0; i < arrays.size(); ++i) {
    CHECK(again[i].first == arrays[i].first);
    check_equal(again[i].second, arrays[i].second);
  }
  write_npz(path, {});
  CHECK(read_npz(path).empty());
  CHECK(std::distance(std::filesystem::directory_iterator(directory.path()), {}) == 1);
}

TEST_CASE("npz: names that cannot be used are refused before anything is written") {
  TemporaryDirectory directory;
  const auto path = directory.path() / "x.npz";
  const Array array = expected(DType::F32, {2});
  for (const char* name : {"", "../x", "/x", "a//b", "a/", "a/./b", "..", "a\\b", "c:x"}) {
    INFO(name);
    CHECK_THROWS_AS(write_npz(path, {{name, array}}), Error);
  }
  CHECK_THROWS_WITH(write_npz(path, {{"x", array}, {"x", array}}),
                    ContainsSubstring("the name \"x\" appears twice"));
  CHECK_FALSE(std::filesystem::exists(path));
  CHECK_THROWS_AS(write_npz(directory.path() / "missing" / "x.npz", {{"x", array}}),
                  cermet::DeviceError);
  CHECK_THROWS_AS(write_npz(directory.path(), {{"x", array}}), cermet::DeviceError);
}

TEST_CASE("npz: hostile zips are refused with the file, the member and what was found") {
  const std::pair<const char*, const char*> cases[] = {
      {"parent.npz", "member \"../x.npy\": the name is not a plain relative path"},
      {"inner_parent.npz", "is not a plain relative path"},
      {"absolute.npz", "member \"/etc/x.npy\": the name is not a plain relative path"},
      {"backslash.npz", "has a backslash"},
      {"drive.npz", "a colon"},
      {"twice.npz", "member \"x.npy\": the name appears twice"},
      {"nameless.npz", "not a .npy file"},
      {"other_file.npz", "member \"readme.txt\": not a .npy file"},
      {"object.npz", "never loaded"},
      {"short.npz", "takes 4 bytes, only 3 are left"},
      {"not_npy.npz", "not a .npy file"},
      {"bomb.npz", "packed bytes cannot hold the 4294967294 bytes that are declared"},
      {"checksum.npz", "CRC"},
      {"scalar.npy", "zip"},
      {"missing.npz", "No such file"},
  };
  for (const auto& [file, text] : cases) {
    INFO(file);
    CHECK_THROWS_WITH(read_npz(data(file)),
                      ContainsSubstring(std::string("read_npz: ") + data(file).string()) &&
                          ContainsSubstring(text));
    CHECK_THROWS_AS(read_npz(data(file)), Error);
  }
}

TEST_CASE("npz: a zip that is cut off or damaged is an error, never a crash") {
  TemporaryDirectory directory;
  const auto path = directory.path() / "x.npz";
  const std::vector<std::byte> whole = read_bytes(data("deflated.npz"));
  const auto save = [&](const std::vector<std::byte>& bytes) {
    write_text(path, {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  };
  const auto accepted = [&] {
    try {
      return !read_npz(path).empty();
    } catch (const Error&) {
      return false;
    }
  };
  for (size_t length = 0; length < whole.size(); ++length) {
    save({whole.begin(), whole.begin() + ptrdiff_t(length)});
    if (accepted()) FAIL("accepted with " << length << " bytes");
  }
  std::mt19937 random(5);
  for (int round = 0; round < 2000; ++round) {
    std::vector<std::byte> damaged = whole;
    damaged[random() % damaged.size()] = std::byte(random());
    save(damaged);
    accepted();
  }
}

// .npy and .npz through the public functions. The formats themselves are tested with the loader
// (tests/runtime/npy_file_test.cpp) on files that NumPy wrote.

#include <sys/stat.h>

#include <filesystem>

#include "api/arrays.h"
#include "api/errors.h"
#include "cermet/cermet.h"
#include "support/paths.h"

namespace ct = cermet;
using ct::DType;
using ct::Tensor;
using ct::test::array_of;
using ct::test::write_text;

namespace {

// Names files as the functions take them.
struct Directory : ct::test::TemporaryDirectory {
  std::string operator/(const char* name) const { return (path() / name).string(); }
};

}  // namespace

TEST_CASE("files: every dtype and rank goes through .npy unchanged") {
  const Directory directory;
  const std::string path = directory / "a.npy";
  for (DType dtype : ct::all_dtypes) {
    for (const ct::Shape& shape : {ct::Shape{}, ct::Shape{5}, ct::Shape{2, 3}, ct::Shape{0, 4}}) {
      const Tensor t = ct::arange(ct::numel(shape)).reshape(shape).to(dtype);
      ct::save_npy(path, t);
      CHECK(array_of(ct::load_npy(path)) == array_of(t));
    }
  }
}

TEST_CASE("files: views, pending results and leaves are saved as they look") {
  const Directory directory;
  const std::string path = directory / "v.npy";
  const Tensor m = ct::arange(6).reshape({2, 3});
  for (const Tensor& t : {m.t(), m.slice(1, std::nullopt, std::nullopt, -2), m[1], m * 2,
                          m.unsqueeze(0).expand({2, 2, 3})}) {
    ct::save_npy(path, t);
    CHECK(array_of(ct::load_npy(path)) == array_of(t));
  }
  ct::save_npy(path, ct::ones({2}).set_requires_grad());
  CHECK(!ct::load_npy(path).requires_grad());
}

TEST_CASE("files: .npz keeps names and order, and overwrites at once or not at all") {
  const Directory directory;
  const std::string path = directory / "model.npz";
  const ct::NamedTensors saved = {{"w", ct::arange(6.0).reshape({2, 3})},
                                  {"layer.0/bias", ct::tensor({1, 2})},
                                  {"empty", ct::zeros({0, 3})},
                                  {"scalar", ct::tensor(2.5)}};
  ct::save_npz(path, saved);
  const ct::NamedTensors loaded = ct::load_npz(path);
  REQUIRE(loaded.size() == saved.size());
  for (size_t i = 0; i < saved.size(); ++i) {
    CHECK(loaded[i].first == saved[i].first);
    CHECK(array_of(loaded[i].second) == array_of(saved[i].second));
  }
  CHECK_ERROR(ct::save_npz(path, {{"a", Tensor()}}), "undefined");
  CHECK_ERROR(ct::save_npz(path, {{"a", ct::tensor(1)}, {"a", ct::tensor(2)}}), "\"a\"");
  CHECK(ct::load_npz(path).size() == saved.size());
  int64_t entries = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(directory.path()))
    ++entries;
  CHECK(entries == 1);  // nothing half-written is left behind
}

TEST_CASE("files: a link keeps naming its file, and what is no file stays what it is") {
  const Directory directory;
  const std::string path = directory / "a.npy", link = directory / "link.npy";
  ct::save_npy(path, ct::arange(3));
  std::filesystem::create_symlink("a.npy", link);
  ct::save_npy(link, ct::arange(5));
  CHECK(std::filesystem::is_symlink(link));
  CHECK(ct::load_npy(path).numel() == 5);
  const std::string pipe = directory / "pipe";
  REQUIRE(mkfifo(pipe.c_str(), 0600) == 0);
  CHECK_THROWS_AS(ct::save_npy(pipe, ct::ones({1})), ct::DeviceError);
  CHECK_THROWS_AS(ct::save_npz(pipe, {{"a", ct::ones({1})}}), ct::DeviceError);
  CHECK(std::filesystem::is_fifo(pipe));
}

TEST_CASE("files: what is no such file is an error that names it") {
  const Directory directory;
  const std::string path = directory / "bad.npy";
  const auto header = [](const std::string& dict) {
    std::string text = "\x93NUMPY";
    text += std::string("\x01\x00", 2);
    text += char(dict.size() % 256);
    text += char(dict.size() / 256);
    return text + dict;
  };
  CHECK_ERROR(ct::load_npy(directory / "missing.npy"), "missing.npy: No such file");
  write_text(path, "");
  CHECK_ERROR(ct::load_npy(path), path);
  write_text(path, "not a NumPy file at all");
  CHECK_ERROR(ct::load_npy(path), path);
  write_text(path, header("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }\n") + "1234");
  CHECK_ERROR(ct::load_npy(path), path, "8");
  write_text(path,
             header("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }\n") + "12345678");
  CHECK_ERROR(ct::load_npy(path), path, "|O");
  write_text(path, header("{'descr': '<f4', 'fortran_order': False, "
                          "'shape': (1099511627776, 1099511627776), }\n"));
  CHECK_ERROR(ct::load_npy(path), path);
  write_text(path, header("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }\n"));
  CHECK_ERROR(ct::load_npy(path), path);
  write_text(path, "PK\x03\x04 truncated");
  CHECK_ERROR(ct::load_npz(path), path);
  CHECK_ERROR(ct::save_npy(path, Tensor()), "save_npy: the tensor is undefined");
  CHECK_THROWS_AS(ct::save_npy(directory / "no/such/folder.npy", ct::ones({1})), ct::DeviceError);
}

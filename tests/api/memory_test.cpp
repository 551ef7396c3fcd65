// Memory shared with the outside, in both directions, and when it is read.

#include <array>
#include <cstring>

#include "api/errors.h"
#include "cermet/cermet.h"

namespace ct = cermet;
using ct::DType;

namespace {
using Ints = std::vector<int64_t>;
using Floats = std::vector<float>;
using Doubles = std::vector<double>;
}  // namespace

TEST_CASE("memory: strides say where the elements of a blob are") {
  Floats memory = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
  const auto blob = [&](int64_t first, const ct::Shape& shape, const ct::Strides& strides) {
    return ct::from_blob(memory.data() + first, shape, DType::F32, strides);
  };
  CHECK(blob(0, {3, 4}, {}).to_vector<float>() == memory);
  CHECK(blob(0, {4, 3}, {1, 4}).to_vector<float>() == Floats{0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11});
  CHECK(blob(1, {2, 2}, {4, 2}).to_vector<float>() == Floats{1, 3, 5, 7});
  CHECK(blob(11, {12}, {-1}).to_vector<float>() == Floats{11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0});
  CHECK(blob(8, {3, 2}, {-4, 1}).to_vector<float>() == Floats{8, 9, 4, 5, 0, 1});
  CHECK(blob(3, {2, 3}, {1, 0}).to_vector<float>() == Floats{3, 3, 3, 4, 4, 4});
  CHECK(blob(0, {2, 3}, {1, 1}).to_vector<float>() == Floats{0, 1, 2, 1, 2, 3});
  CHECK(blob(5, {}, {}).item<float>() == 5);
  CHECK(blob(0, {0, 4}, {}).numel() == 0);
  CHECK(blob(8, {3, 2}, {-4, 1}).strides() == ct::Strides{-4, 1});
}

TEST_CASE("memory: writes through a strided blob reach exactly its elements") {
  Ints memory(10, 0);
  ct::Tensor odd = ct::from_blob(memory.data() + 9, {5}, DType::I64, {-2});
  odd.copy_(ct::tensor({1, 2, 3, 4, 5})).realize();
  CHECK(memory == Ints{0, 5, 0, 4, 0, 3, 0, 2, 0, 1});
  odd.slice(0, 0, 2).fill_(7);
  CHECK(memory == Ints{0, 5, 0, 4, 0, 3, 0, 2, 0, 1});  // lazy: not yet
  odd.realize();
  CHECK(memory == Ints{0, 5, 0, 4, 0, 3, 0, 7, 0, 7});
  memory[1] = -1;
  CHECK(odd.to_vector<int64_t>() == Ints{7, 7, 3, 4, -1});
}

TEST_CASE("memory: elements that overlap can be read but not written") {
  Floats memory = {0, 1, 2, 3};
  ct::Tensor windows = ct::from_blob(memory.data(), {3, 2}, DType::F32, {1, 1});
  CHECK(windows.sum().item<float>() == 9);
  CHECK_ERROR(windows.add_(1), "add_", "several places", "clone()");
  ct::Tensor rows = ct::from_blob(memory.data(), {2, 4}, DType::F32, {0, 1});
  CHECK_ERROR(rows.zero_(), "several places");
  // Strides that interleave without meeting are fine.
  Floats six(8, 0.0f);
  ct::from_blob(six.data(), {3, 2}, DType::F32, {2, 3}).copy_(ct::ones({3, 2})).realize();
  CHECK(six == Floats{1, 0, 1, 1, 1, 1, 0, 1});
}

TEST_CASE("memory: the deleter runs once, when nothing uses the memory any more") {
  int deleted = 0;
  Floats memory = {1, 2, 3};
  {
    ct::Tensor view;
    {
      const ct::Tensor t =
          ct::from_blob(memory.data(), {3}, DType::F32, {}, [&deleted] { ++deleted; });
      view = t.slice(0, 1, std::nullopt);
    }
    CHECK(deleted == 0);
    const ct::Tensor pending = view * 2;
    view = ct::Tensor();
    CHECK(deleted == 0);
    CHECK(pending.to_vector<float>() == Floats{4, 6});
  }
  CHECK(deleted == 1);
  {
    const ct::Tensor never_read =
        ct::from_blob(memory.data(), {3}, DType::F32, {}, [&deleted] { ++deleted; });
  }
  CHECK(deleted == 2);
  CHECK_ERROR(ct::from_blob(nullptr, {3}, DType::F32, {}, [&deleted] { ++deleted; }), "null");
  CHECK(deleted == 2);  // refused: it is still the caller's
}

TEST_CASE("memory: what a blob may not be") {
  Floats memory(4, 0.0f);
  CHECK_ERROR(ct::from_blob(memory.data(), {-1}, DType::F32), "from_blob: ", "[-1]");
  CHECK_ERROR(ct::from_blob(nullptr, {1}, DType::F32), "from_blob: ", "null");
  CHECK_ERROR(ct::from_blob(memory.data(), {2, 2}, DType::F32, {1}), "from_blob: ", "1 strides");
  CHECK_ERROR(ct::from_blob(reinterpret_cast<char*>(memory.data()) + 1, {1}, DType::F32), "aligned",
              "f32");
  CHECK_ERROR(ct::from_blob(memory.data(), {int64_t(1) << 40, int64_t(1) << 40}, DType::F32),
              "more elements");
  CHECK_ERROR(ct::from_blob(memory.data(), {int64_t(1) << 61}, DType::F32),
              "from_blob: ", "more bytes");
  CHECK_ERROR(ct::from_blob(memory.data(), {3, 3}, DType::F32, {INT64_MAX / 2, INT64_MAX / 2}),
              "from_blob: ", "strides");
  CHECK(ct::from_blob(nullptr, {0}, DType::F32).numel() == 0);
}

TEST_CASE("memory: borrowed memory is read when a result is realized, each time") {
  Doubles memory = {1, 2, 3};
  const ct::Tensor t = ct::borrow(memory);
  const ct::Tensor sum = t.sum(), twice = t * 2;
  memory[0] = 10;
  CHECK(sum.item<double>() == 15);
  memory[0] = 20;
  // What was realized keeps its elements; what is recorded from now on reads anew.
  CHECK(sum.item<double>() == 15);
  CHECK(t.sum().item<double>() == 25);
  CHECK(twice.to_vector<double>() == Doubles{40, 4, 6});
  // The same expression again is not taken from a cache.
  memory[0] = 30;
  CHECK((t * 2).to_vector<double>() == Doubles{60, 4, 6});
  memory[1] = 0;
  CHECK((t * 2).to_vector<double>() == Doubles{60, 0, 6});
}

TEST_CASE("memory: clone() is a snapshot, also of views and of results not yet realized") {
  Ints memory = {1, 2, 3, 4};
  const ct::Tensor t = ct::borrow(memory);
  const ct::Tensor all = t.clone(), odd = t.slice(0, 1, std::nullopt, 2).clone(),
                   pending = (t + 1).clone();
  memory = {9, 9, 9, 9};
  CHECK(all.to_vector<int64_t>() == Ints{1, 2, 3, 4});
  CHECK(odd.to_vector<int64_t>() == Ints{2, 4});
  CHECK(pending.to_vector<int64_t>() == Ints{2, 3, 4, 5});
  ct::Tensor a = ct::tensor({1, 2});
  const ct::Tensor b = a.clone();
  a.add_(1);
  CHECK(b.to_vector<int64_t>() == Ints{1, 2});
  CHECK(a.to_vector<int64_t>() == Ints{2, 3});
}

TEST_CASE("memory: pending results keep the old elements when memory is overwritten by a tensor") {
  Ints memory = {1, 2, 3};
  ct::Tensor t = ct::borrow(memory);
  const ct::Tensor before = t * 10;
  t.add_(100);
  const ct::Tensor after = t * 10;
  t.realize();  // writes to memory
  CHECK(memory == Ints{101, 102, 103});
  CHECK(before.to_vector<int64_t>() == Ints{10, 20, 30});
  CHECK(after.to_vector<int64_t>() == Ints{1010, 1020, 1030});

  ct::Tensor own = ct::tensor({1, 2, 3});
  int64_t* p = own.data<int64_t>();
  const ct::Tensor pending = own + 0;
  own.mul_(5);
  CHECK(own.data<int64_t>() == p);  // the pointer stays the tensor's memory
  CHECK(p[2] == 15);
  CHECK(pending.to_vector<int64_t>() == Ints{1, 2, 3});
}

TEST_CASE("memory: data() of views points into the memory of the whole") {
  const ct::Tensor t = ct::arange(12).reshape({3, 4});
  int64_t* first = t.data<int64_t>();
  const ct::Tensor column = t.select(1, 2), back = t.slice(1, std::nullopt, std::nullopt, -1);
  CHECK(column.data<int64_t>() == first + 2);
  CHECK(column.strides() == ct::Strides{4});
  CHECK(back.data<int64_t>() == first + 3);
  CHECK(back.strides() == ct::Strides{4, -1});
  column.data<int64_t>()[4] = -6;
  CHECK(t.to_vector<int64_t>() == Ints{0, 1, 2, 3, 4, 5, -6, 7, 8, 9, 10, 11});
  CHECK_ERROR(column.span<int64_t>(), "span: ", "contiguous()");
  CHECK(t.select(0, 1).span<int64_t>()[2] == -6);
  CHECK(column.contiguous().span<int64_t>().size() == 3);
}

TEST_CASE("memory: results realized before a write through a pointer keep their elements") {
  const ct::Tensor t = ct::tensor({1.0, 2.0});
  const ct::Tensor doubled = (t * 2).realize(), pending = t * 3;
  t.data<float>()[0] = 5;
  CHECK(doubled.to_vector<float>() == Floats{2, 4});
  CHECK(t.to_vector<float>() == Floats{5, 2});
  CHECK((t * 2).to_vector<float>() == Floats{10, 4});
  // Recorded before data() gave a pointer out: it has the elements of then.
  CHECK(pending.to_vector<float>()[1] == 6);
}

TEST_CASE("memory: tensors of every dtype go out and in unchanged") {
  for (DType dtype : ct::all_dtypes) {
    std::vector<std::byte> bytes(7 * size_of(dtype));
    for (size_t i = 0; i < bytes.size(); ++i)
      bytes[i] = std::byte(is_bool(dtype) ? i % 2 : i * 37 % 251);
    const ct::Tensor t = ct::tensor(std::span<const std::byte>(bytes), dtype, {7});
    const ct::Tensor through = ct::cat({t, t}).slice(0, 7, std::nullopt);
    visit(dtype, [&]<class T>(T) {
      CHECK(std::memcmp(t.data<T>(), bytes.data(), bytes.size()) == 0);
      CHECK(std::memcmp(through.contiguous().data<T>(), bytes.data(), bytes.size()) == 0);
    });
  }
  const std::array<std::byte, 3> three{};
  CHECK_ERROR(ct::tensor(std::span<const std::byte>(three), DType::I32, {1}), "3 bytes", "i32[1]");
}

TEST_CASE("memory: spans and vectors of the caller's types") {
  const std::array<double, 4> fixed = {1, 2, 3, 4};
  CHECK(ct::tensor(std::span(fixed)).shape() == ct::Shape{4});
  CHECK(ct::tensor(std::span(fixed), {2, 2}).dtype() == DType::F64);
  const std::vector<int8_t> bytes = {-1, 0, 1};
  CHECK(ct::tensor(bytes).to_vector<int8_t>() == bytes);
  CHECK(ct::tensor(bytes, {3, 1}).shape() == ct::Shape{3, 1});
  std::vector<uint16_t> words = {1, 2};
  CHECK(ct::borrow(std::span(words).first(1)).to_vector<uint16_t>() == std::vector<uint16_t>{1});
  CHECK_ERROR(ct::tensor(bytes, {2}), "3 bytes", "i8[2]");
}

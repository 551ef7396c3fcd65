#include "runtime/format.h"

#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <vector>

#include "cermet/error.h"
#include "cermet/shape.h"
#include "support/catch.h"
#include "support/paths.h"

using cermet::DType;
using cermet::Shape;
using cermet::runtime::format_array;
using cermet::runtime::PrintOptions;
using nlohmann::json;

namespace {

std::vector<std::byte> from_hex(const std::string& hex) {
  std::vector<std::byte> bytes(hex.size() / 2);
  for (size_t i = 0; i < bytes.size(); ++i)
    bytes[i] = std::byte(std::stoul(hex.substr(2 * i, 2), nullptr, 16));
  return bytes;
}

std::vector<std::byte> ramp(DType dtype, int64_t count, double start, double step) {
  std::vector<std::byte> bytes(size_t(count) * cermet::size_of(dtype));
  cermet::visit(dtype, [&](auto zero) {
    using T = decltype(zero);
    for (int64_t i = 0; i < count; ++i) {
      const T value = T(start + step * double(i));
      std::memcpy(&bytes[size_t(i) * sizeof(T)], &value, sizeof(T));
    }
  });
  return bytes;
}

PrintOptions options_of(const json& given) {
  PrintOptions options;
  for (const auto& [key, value] : given.items()) {
    if (key == "precision")
      options.precision = value;
    else if (key == "threshold")
      options.threshold = value;
    else if (key == "edgeitems")
      options.edge_items = value;
    else if (key == "linewidth")
      options.line_width = value;
    else if (key == "sci_mode")
      options.scientific = value.get<bool>();
    else
      throw std::runtime_error("unknown option " + key);
  }
  return options;
}

}  // namespace

TEST_CASE("print: arrays look as PyTorch prints them") {
  std::ifstream file(cermet::test::source_dir() / "tests" / "data" / "print.json");
  const json cases = json::parse(file);
  REQUIRE(cases.size() > 400);
  for (const json& c : cases) {
    const DType dtype = cermet::parse_dtype(c.at("dtype").get<std::string>()).value();
    const Shape shape(c.at("shape").get<std::vector<int64_t>>());
    const std::vector<std::byte> data =
        c.contains("arange")
            ? ramp(dtype, cermet::numel(shape), c.at("arange")[0], c.at("arange")[1])
            : from_hex(c.at("bytes"));
    REQUIRE(data.size() == size_t(cermet::numel(shape)) * cermet::size_of(dtype));
    const std::string text =
        format_array(dtype, shape, data.data(), options_of(c.value("options", json::object())),
                     c.value("requires_grad", false));
    const auto expected = c.at("text").get<std::string>();
    if (text != expected) {
      INFO(c.dump().substr(0, 300));
      CHECK(text == expected);
    }
  }
}

TEST_CASE("print: options that make no sense are refused") {
  const float x = 1;
  CHECK_THROWS_WITH(format_array(DType::F32, Shape{}, &x, {.precision = -1}),
                    "print: the precision must be from 0 to 100, got -1");
  CHECK_THROWS_AS(format_array(DType::F32, Shape{}, &x, {.precision = 101}), cermet::Error);
  CHECK_THROWS_WITH(format_array(DType::F32, Shape{}, &x, {.edge_items = -2}),
                    "print: edge_items must not be negative, got -2");
}

TEST_CASE("print: very many axes need no deep stack") {
  const float x = 2.5f;
  const Shape shape(100'000, 1);
  const std::string text = format_array(DType::F32, shape, &x);
  CHECK(text == "tensor(" + std::string(100'000, '[') + "2.5000" + std::string(100'000, ']') + ")");
}

// The rules are those of PyTorch's torch/_tensor_str.py (2.x); tests/data/make_print.py has PyTorch
// itself write the expected text.
#include "runtime/format.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string_view>
#include <vector>

#include "cermet/error.h"
#include "cermet/shape.h"

namespace cermet::runtime {
namespace {

constexpr std::string_view prefix = "tensor(";
constexpr auto indent = int64_t(prefix.size());

template <class T>
T load(const void* data, int64_t index) {
  T value;
  std::memcpy(&value, static_cast<const std::byte*>(data) + size_t(index) * sizeof(T), sizeof(T));
  return value;
}

// The width and the notation that all shown elements share.
class ElementFormat {
 public:
  ElementFormat(DType dtype, const void* data, const std::vector<int64_t>& shown,
                const PrintOptions& options)
      : dtype_(dtype), data_(data), precision_(options.precision) {
    if (is_float(dtype)) choose_notation(shown, options.scientific);
    // Zeros, infinities and NaNs are padded but do not widen a column of floats.
    for (int64_t index : shown)
      if (!is_float(dtype) || counts(number(index))) width_ = std::max(width_, text(index).size());
  }

  size_t width() const { return width_; }

  std::string operator()(int64_t index) const {
    std::string out = text(index);
    if (out.size() < width_) out.insert(0, width_ - out.size(), ' ');
    return out;
  }

 private:
  static bool counts(double value) { return std::isfinite(value) && value != 0; }

  double number(int64_t index) const {
    return visit(dtype_, [&](auto zero) { return double(load<decltype(zero)>(data_, index)); });
  }

  void choose_notation(const std::vector<int64_t>& shown, std::optional<bool> scientific) {
    double smallest = INFINITY, largest = 0;
    bool any = false;
    for (int64_t index : shown) {
      const double value = number(index);
      if (!counts(value)) continue;
      any = true;
      smallest = std::min(smallest, std::abs(value)), largest = std::max(largest, std::abs(value));
      if (value != std::ceil(value)) whole_ = false;
    }
    if (any)
      scientific_ =
          scientific.value_or(largest / smallest > 1000.0 || largest > 1.0e8 || smallest < 1.0e-4);
  }

  std::string text(int64_t index) const {
    if (is_float(dtype_)) return float_text(number(index));
    return visit(dtype_, [&](auto zero) -> std::string {
      using T = decltype(zero);
      if constexpr (std::is_same_v<T, bool>)
        return load<T>(data_, index) ? "True" : "False";
      else if constexpr (std::is_integral_v<T>)
        return fmt::format("{}", load<T>(data_, index));
      else
        return float_text(double(load<T>(data_, index)));
    });
  }

  std::string float_text(double value) const {
    if (std::isnan(value)) return "nan";
    if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
    if (scientific_) return fmt::format("{:.{}e}", value, precision_);
    if (whole_) return fmt::format("{:.0f}.", value);
    return fmt::format("{:.{}f}", value, precision_);
  }

  DType dtype_;
  const void* data_;
  int precision_;
  bool whole_ = true, scientific_ = false;
  size_t width_ = 1;
};

// What is shown of an array: for each axis the indices, with `gap` where some are left out.
class Picture {
 public:
  static constexpr int64_t gap = -1;

  Picture(std::span<const int64_t> shape, const PrintOptions& options)
      : shape_(shape), strides_(row_major_strides(shape)), axes_(shape.size()) {
    const bool summary = numel(shape) > options.threshold;
    for (size_t axis = 0; axis < shape.size(); ++axis) {
      const int64_t extent = shape[axis], edge = options.edge_items;
      const bool cut = summary && extent > 2 * edge;
      for (int64_t i = 0; i < (cut ? edge : extent); ++i) axes_[axis].push_back(i);
      if (!cut) continue;
      axes_[axis].push_back(gap);
      for (int64_t i = extent - edge; i < extent; ++i) axes_[axis].push_back(i);
    }
  }

  // The offsets of all shown elements.
  std::vector<int64_t> elements() const {
    std::vector<int64_t> offsets = {0};
    for (size_t axis = 0; axis < axes_.size(); ++axis) {
      std::vector<int64_t> next;
      for (int64_t offset : offsets)
        for (int64_t i : axes_[axis])
          if (i != gap) next.push_back(offset + i * strides_[axis]);
      offsets = std::move(next);
    }
    return offsets;
  }

  // Rank 1 or more, no empty axis.
  std::string draw(const ElementFormat& format, int64_t line_width) const {
    const size_t outer = axes_.size() - 1;  // axes above the rows
    std::vector<size_t> at(outer);          // into axes_
    std::string out(outer, '[');
    while (true) {
      int64_t offset = 0;
      for (size_t axis = 0; axis < outer; ++axis) offset += axes_[axis][at[axis]] * strides_[axis];
      draw_row(out, format, offset, line_width);
      size_t axis = outer;
      while (axis > 0) {
        size_t& here = at[axis - 1];
        if (++here == axes_[axis - 1].size()) {
          out += ']';
          here = 0;
          --axis;
          continue;
        }
        out += ',';
        out.append(axes_.size() - axis, '\n');  // blank lines between blocks
        out.append(size_t(indent) + axis, ' ');
        if (axes_[axis - 1][here] != gap) break;
        out += "...";
      }
      if (axis == 0) return out;
      out.append(outer - axis, '[');
    }
  }

 private:
  void draw_row(std::string& out, const ElementFormat& format, int64_t offset,
                int64_t line_width) const {
    const int64_t row_indent = indent + int64_t(axes_.size()) - 1;
    const int64_t per_line =
        std::max<int64_t>(1, (line_width - row_indent) / (int64_t(format.width()) + 2));
    out += '[';
    int64_t count = 0;
    for (int64_t i : axes_.back()) {
      if (count > 0 && count % per_line == 0) {
        out += ",\n";
        out.append(size_t(row_indent) + 1, ' ');
      } else if (count > 0) {
        out += ", ";
      }
      out += i == gap ? " ..." : format(offset + i);
      ++count;
    }
    out += ']';
  }

  std::span<const int64_t> shape_;
  Strides strides_;
  std::vector<std::vector<int64_t>> axes_;
};

// "(2, 3)", "(2,)", "()".
std::string python_tuple(std::span<const int64_t> shape) {
  return fmt::format("({}{})", fmt::join(shape, ", "), shape.size() == 1 ? "," : "");
}

std::vector<std::string> suffixes_of(DType dtype, std::span<const int64_t> shape, bool empty,
                                     const PrintOptions& options, bool requires_grad) {
  std::vector<std::string> suffixes;
  // The brackets of an empty array show neither its shape nor, without elements, its dtype.
  if (empty ? shape.size() != 1 : options.edge_items == 0)
    suffixes.push_back("size=" + python_tuple(shape));
  const bool obvious =
      dtype == DType::F32 || (!empty && (dtype == DType::I64 || dtype == DType::Bool));
  if (!obvious) suffixes.push_back(fmt::format("dtype={}", info(dtype).torch_name));
  if (requires_grad) suffixes.push_back("requires_grad=True");
  return suffixes;
}

void append_suffixes(std::string& text, const std::vector<std::string>& suffixes,
                     int64_t line_width) {
  const size_t newline = text.rfind('\n');
  // One more than is there, and two on the first line: so PyTorch counts.
  int64_t used = int64_t(text.size()) - (newline == text.npos ? -1 : int64_t(newline)) + 1;
  for (const std::string& suffix : suffixes) {
    const auto length = int64_t(suffix.size());
    if (used + length + 2 > line_width) {
      text += ",\n" + std::string(size_t(indent), ' ') + suffix;
      used = indent + length;
    } else {
      text += ", " + suffix;
      used += length + 2;
    }
  }
}

}  // namespace

std::string format_array(DType dtype, std::span<const int64_t> shape, const void* data,
                         const PrintOptions& options, bool requires_grad) {
  if (options.precision < 0 || options.precision > 100)
    throw Error(
        fmt::format("print: the precision must be from 0 to 100, got {}", options.precision));
  if (options.edge_items < 0)
    throw Error(fmt::format("print: edge_items must not be negative, got {}", options.edge_items));
  std::string out(prefix);
  const bool empty = numel(shape) == 0;
  if (empty) {
    out += "[]";
  } else if (numel(shape) > options.threshold && options.edge_items == 0 && !shape.empty()) {
    out += "[...]";
  } else {
    const Picture picture(shape, options);
    const ElementFormat format(dtype, data, picture.elements(), options);
    out += shape.empty() ? format(0) : picture.draw(format, options.line_width);
  }
  append_suffixes(out, suffixes_of(dtype, shape, empty, options, requires_grad),
                  options.line_width);
  return out + ")";
}

}  // namespace cermet::runtime

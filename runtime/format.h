#pragma once
// Arrays as text, exactly as PyTorch prints a tensor:
//
//     tensor([[1.0000, 2.5000],
//             [3.0000, 4.0000]], dtype=float64, requires_grad=True)
//
// All elements that are shown have one width and one notation, chosen by looking at all of them:
// "1." when every float is a whole number, 1.0000e-05 when small and large ones meet, else 4
// decimals. Large arrays show three elements at each end of each axis. The one difference:
// dtype=float64 where PyTorch writes dtype=torch.float64.

#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "cermet/dtype.h"

namespace cermet::runtime {

// As torch.set_printoptions.
struct PrintOptions {
  int precision = 4;         // digits behind the point
  int64_t threshold = 1000;  // arrays with more elements than this are summarised
  int64_t edge_items = 3;    // elements that a summary shows at each end of an axis
  int64_t line_width = 80;
  std::optional<bool> scientific = std::nullopt;  // nothing: decided by the values

  friend bool operator==(const PrintOptions&, const PrintOptions&) = default;
};

// `data` holds the elements in row-major order. Throws Error for a precision outside 0 .. 100 or a
// negative edge_items.
std::string format_array(DType dtype, std::span<const int64_t> shape, const void* data,
                         const PrintOptions& options = {}, bool requires_grad = false);

}  // namespace cermet::runtime

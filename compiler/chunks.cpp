#include "compiler/chunks.h"

#include <limits>

#include "cermet/error.h"

namespace cermet::compiler {

using ir::Combine;
using ir::Value;

int64_t chunks_near(int64_t extent, int64_t wanted) {
  for (int64_t c = wanted; c > wanted / 2 && c > 1; --c)
    if (extent % c == 0) return c;
  return wanted;
}

Value in_chunks(const Value& x, int64_t axis, int64_t count, Combine combine) {
  const int64_t extent = x->shape[size_t(axis)], length = (extent + count - 1) / count;
  const int64_t lacking = length * count - extent;
  const Value whole = lacking == 0 ? x : ir::pad(x, axis, 0, lacking, identity_of(combine));
  Shape divided = whole->shape;
  divided[size_t(axis)] = length;
  divided.insert(divided.begin() + axis, count);
  return ir::reshape(whole, divided);
}

Value combined(Combine combine, const Value& x, const Value& y) {
  switch (combine) {
    case Combine::Sum: return x + y;
    case Combine::Prod: return x * y;
    case Combine::Max: return ir::maximum(x, y);
    case Combine::Min: return ir::minimum(x, y);
    case Combine::Set: break;
  }
  throw InternalError("elements that replace each other are not combined in chunks");
}

double identity_of(Combine combine) {
  constexpr double inf = std::numeric_limits<double>::infinity();
  if (combine == Combine::Max) return -inf;
  if (combine == Combine::Min) return inf;
  return combine == Combine::Prod ? 1.0 : -0.0;
}

}  // namespace cermet::compiler

#include "compiler/operand_reads.h"

#include <cstdlib>

namespace cermet::compiler {

const Expr* main_load(const Kernel& kernel, const KernelProgram& program, int32_t operand) {
  std::vector<bool> below(kernel.exprs.size(), false);
  below[size_t(operand)] = true;
  const Expr* out = nullptr;
  size_t most = 0;
  for (size_t i = size_t(operand) + 1; i-- > 0;) {
    const Expr& e = kernel.exprs[i];
    if (!below[i]) continue;
    for (int32_t o : e.operands) below[size_t(o)] = true;
    if (e.kind != Expr::Kind::Load || !e.inner) continue;
    size_t axes = 0;
    for (int64_t stride : e.map->levels()[0].strides) axes += stride != 0;
    const size_t bytes = axes * 16 + size_of(program.buffers[size_t(e.buffer)].dtype);
    if (bytes > most) most = bytes, out = &e;
  }
  return out;
}

bool closer_along(const Expr& load, int64_t inner, int64_t outer) {
  const ir::StridedMap& map = load.map->levels()[0];
  const auto stride = [&](int64_t axis) {
    return size_t(axis) < map.strides.size() ? std::abs(map.strides[size_t(axis)]) : 0;
  };
  const int64_t step = stride(inner), across = stride(outer);
  return step != 0 && (across == 0 || step < across);
}

int whole_lanes(const Expr& load, int64_t axis, int64_t most) {
  return load.map->single() ? whole_lanes(load.map->levels()[0], axis, most) : 1;
}

int whole_lanes(const ir::StridedMap& map, int64_t axis, int64_t most) {
  const auto d = size_t(axis);
  const bool whole = map.begin[d] == 0 && map.end[d] == map.shape[d];
  if (map.strides[d] != 1 || !whole) return 1;
  int64_t lanes = most;
  while (lanes > 1 && !(map.shape[d] % lanes == 0 && aligned_along(map, d, lanes))) lanes /= 2;
  return int(lanes);
}

bool aligned_along(const ir::StridedMap& map, size_t axis, int64_t lanes) {
  if (map.offset % lanes != 0) return false;
  for (size_t d = 0; d < map.shape.size(); ++d)
    if (d != axis && map.strides[d] % lanes != 0) return false;
  return true;
}

}  // namespace cermet::compiler

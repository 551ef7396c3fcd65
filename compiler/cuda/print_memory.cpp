// Loads and stores. Whole vectors are one access of up to 16 bytes, or several; what is masked lane
// by lane goes lane by lane.

#include <algorithm>

#include "compiler/cuda/printer.h"

namespace cermet::compiler {
namespace {

// Accesses of more than 16 bytes are several.
int access_lanes(const loops::Instruction& i) {
  return std::min<int>(i.lanes, int(16 / size_of(i.dtype)));
}

}  // namespace

std::string CudaPrinter::base(size_t buffer) const {
  const Buffer& b = f_.buffers[buffer];
  if (b.kind != Buffer::Kind::Scratch) return fmt::format("b{}", buffer);
  return fmt::format("(({}*)(shared_memory + {}))", cuda_type(b.dtype), lane(b.offset, 0));
}

std::string CudaPrinter::place(const Instruction& i, const std::string& position) const {
  return fmt::format("{}[{}]", base(size_t(i.imm)), position);
}

std::string CudaPrinter::guard(const Instruction& i, size_t mask, int l) const {
  return i.operands.size() > mask ? fmt::format("if ({}) ", operand(i, mask, l)) : "";
}

std::string CudaPrinter::masked(const Instruction& i, size_t mask, int l,
                                const std::string& text) const {
  if (i.operands.size() <= mask) return text;
  return fmt::format("{} ? {} : {}", operand(i, mask, l), text,
                     is_half(i.dtype) ? fmt::format("{}{{0}}", cuda_type(i.dtype))
                                      : fmt::format("({})0", cuda_type(i.dtype)));
}

// Whether all lanes are masked alike.
bool CudaPrinter::one_mask(const Instruction& i, size_t mask) const {
  return i.operands.size() <= mask || lanes(i.operands[mask]) == 1 ||
         at(i.operands[mask]).op == Opcode::Splat;
}

void CudaPrinter::load(Ref r) {
  const Instruction& i = at(r);
  if (i.lanes == 1)
    return define(r, [&](int) { return masked(i, 1, 0, place(i, operand(i, 0, 0))); });
  if (!one_mask(i, 1))
    return define(r, [&](int l) {
      return masked(i, 1, l, place(i, fmt::format("{} + {}", operand(i, 0, 0), l)));
    });
  const int width = access_lanes(i);
  const int32_t wide = next_++;
  const std::string type = fmt::format("vec<{}, {}>", cuda_type(i.dtype), width);
  for (int first = 0; first < i.lanes; first += width) {
    line("{} w{}_{} = {{}};", type, wide, first);
    line("{}w{}_{} = *(const {}*)({} + {} + {});", guard(i, 1, 0), wide, first, type,
         base(size_t(i.imm)), operand(i, 0, 0), first);
  }
  define(r,
         [&](int l) { return fmt::format("w{}_{}.lane[{}]", wide, l / width * width, l % width); });
}

void CudaPrinter::store(const Instruction& i) {
  if (i.lanes == 1)
    return line("{}{} = {};", guard(i, 2, 0), place(i, operand(i, 0, 0)), operand(i, 1, 0));
  if (!one_mask(i, 2)) return store_lanes(i);
  const int width = access_lanes(i);
  const std::string type = fmt::format("vec<{}, {}>", cuda_type(i.dtype), width);
  for (int first = 0; first < i.lanes; first += width) {
    std::string values;
    for (int l = first; l < first + width; ++l)
      values += fmt::format("{}{}", l == first ? "" : ", ", operand(i, 1, l));
    line("{}*({}*)({} + {} + {}) = {}{{{{{}}}}};", guard(i, 2, 0), type, base(size_t(i.imm)),
         operand(i, 0, 0), first, type, values);
  }
}

void CudaPrinter::store_lanes(const Instruction& i) {
  for (int l = 0; l < i.lanes; ++l)
    line("{}{} = {};", guard(i, 2, l), place(i, fmt::format("{} + {}", operand(i, 0, 0), l)),
         operand(i, 1, l));
}

}  // namespace cermet::compiler

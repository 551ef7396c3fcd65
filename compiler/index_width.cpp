#include "compiler/index_width.h"

#include <algorithm>
#include <limits>

namespace cermet::compiler {
namespace {

using loops::Instruction;
using loops::Opcode;
using loops::Ref;

__extension__ using int128 = __int128;

struct Interval {
  int128 low = 0, high = 0;
};

// Products of two 64-bit numbers fit into 128; what grew beyond is not followed any further.
constexpr int128 unbounded = int128(1) << 100;
Interval clamped(Interval x) {
  return {std::clamp(x.low, -unbounded, unbounded), std::clamp(x.high, -unbounded, unbounded)};
}
Interval over(Interval a, Interval b) { return {std::min(a.low, b.low), std::max(a.high, b.high)}; }
bool fits(Interval x, int bits) {
  const int128 limit = int128(1) << (bits - 1);
  return x.low >= -limit && x.high < limit;
}

class Widths {
 public:
  Widths(const loops::Function& function, std::span<const int64_t> integers, int64_t blocks)
      : f_(function),
        integers_(integers),
        blocks_(blocks),
        is_index_(index_values(function)),
        interval_(function.instructions.size()) {}

  int run() {
    block(0);
    return narrow_ ? 32 : fits_ ? 64 : 0;
  }

 private:
  const Instruction& at(Ref r) const { return f_.instructions[size_t(r.id)]; }
  Interval of(Ref r) const { return interval_[size_t(r.id)]; }

  void set(Ref r, Interval x) {
    interval_[size_t(r.id)] = x = clamped(x);
    narrow_ &= fits(x, 32), fits_ &= fits(x, 64);
  }

  // Blocks are visited in the order in which they run; loops nest at most 64 deep (verify_loops).
  void block(int32_t which) {
    for (Ref r : f_.blocks[size_t(which)].instructions) {
      const Instruction& i = at(r);
      if (i.op == Opcode::For) {
        // The variable reaches the first value at or beyond the bound.
        const Interval low = of(i.operands[0]), high = of(i.operands[1]);
        const Ref variable = f_.blocks[size_t(i.block)].parameters[0];
        set(variable, {low.low, std::max(low.high, high.high - 1 + i.imm)});
        interval_[size_t(variable.id)].high = std::max(low.low, high.high - 1);
      }
      if (i.op == Opcode::For || i.op == Opcode::If) block(i.block);
      // A constant takes no more than what it is used for.
      if (i.op == Opcode::Constant && is_index_[size_t(r.id)])
        interval_[size_t(r.id)] = value(i);
      else if (is_index_[size_t(r.id)])
        set(r, value(i));
    }
  }

  Interval value(const Instruction& i) const {
    const auto x = [&](size_t which) { return of(i.operands[which]); };
    switch (i.op) {
      case Opcode::Constant: return {i.imm, i.imm};
      case Opcode::Argument: return {integers_[size_t(i.imm)], integers_[size_t(i.imm)]};
      case Opcode::Thread: return {0, f_.threads - 1};
      case Opcode::Block: return {0, std::max<int64_t>(0, blocks_ - 1)};
      case Opcode::Add: return {x(0).low + x(1).low, x(0).high + x(1).high};
      case Opcode::Sub: return {x(0).low - x(1).high, x(0).high - x(1).low};
      case Opcode::Mul: return product(x(0), x(1));
      case Opcode::Div: return quotient(x(0), x(1));
      case Opcode::Rem: {
        const int128 most = std::max(-x(1).low, x(1).high) - 1;
        if (x(0).low >= 0) return {0, std::max<int128>(0, std::min(most, x(0).high))};
        return {-most, most};
      }
      case Opcode::Xor: {
        if (x(0).low < 0 || x(1).low < 0) return {-unbounded, unbounded};
        int128 most = 1;
        while (most <= std::max(x(0).high, x(1).high)) most *= 2;
        return {0, most - 1};
      }
      case Opcode::Ramp: return {x(0).low, x(0).high + i.lanes - 1};
      case Opcode::Select: {
        // The smaller of two, as Builder::min_index writes it, is at most either.
        const Instruction& mask = at(i.operands[0]);
        if (mask.op == Opcode::Lt && mask.operands[0] == i.operands[1] &&
            mask.operands[1] == i.operands[2])
          return {std::min(x(1).low, x(2).low), std::min(x(1).high, x(2).high)};
        return over(x(1), x(2));
      }
      default: return x(0);  // Splat, Extract
    }
  }
  static Interval product(Interval a, Interval b) {
    // Beyond 2^63 nothing is an index any more; smaller factors keep the products in range.
    const int128 limit = int128(1) << 63;
    for (Interval* i : {&a, &b})
      *i = {std::clamp(i->low, -limit, limit), std::clamp(i->high, -limit, limit)};
    const int128 all[] = {a.low * b.low, a.low * b.high, a.high * b.low, a.high * b.high};
    return {*std::ranges::min_element(all), *std::ranges::max_element(all)};
  }
  static Interval quotient(Interval a, Interval b) {
    if (b.low <= 0) {  // of either sign, or by what never runs
      const int128 most = std::max(a.high, -a.low);
      return {-most, most};
    }
    const int128 all[] = {a.low / b.low, a.low / b.high, a.high / b.low, a.high / b.high};
    return {*std::ranges::min_element(all), *std::ranges::max_element(all)};
  }

  const loops::Function& f_;
  std::span<const int64_t> integers_;
  int64_t blocks_;
  std::vector<bool> is_index_;
  std::vector<Interval> interval_;  // by Ref, of indices
  bool narrow_ = true, fits_ = true;
};

}  // namespace

std::vector<bool> index_values(const loops::Function& function) {
  std::vector<bool> out(function.instructions.size(), false);
  std::vector<const Instruction*> owner(function.blocks.size(), nullptr);
  for (const Instruction& i : function.instructions)
    if (i.op == Opcode::For) owner[size_t(i.block)] = &i;
  // Definitions come before uses in the order of blocks, not of numbers: until nothing changes.
  for (bool changed = true; changed;) {
    changed = false;
    for (size_t id = 0; id < out.size(); ++id) {
      const Instruction& i = function.instructions[id];
      if (out[id] || i.dtype != DType::I64) continue;
      size_t first = 0;
      switch (i.op) {
        case Opcode::Select: first = 1; break;
        case Opcode::BlockParameter:
          if (i.imm != 0) continue;
          break;
        case Opcode::Constant:
        case Opcode::Argument:
        case Opcode::Thread:
        case Opcode::Block:
        case Opcode::Add:
        case Opcode::Sub:
        case Opcode::Mul:
        case Opcode::Div:
        case Opcode::Rem:
        case Opcode::Xor:
        case Opcode::Ramp:
        case Opcode::Splat:
        case Opcode::Extract: break;
        default: continue;
      }
      bool all = true;
      for (size_t k = first; k < i.operands.size(); ++k) all &= out[size_t(i.operands[k].id)];
      if (i.op == Opcode::BlockParameter) {  // a loop's variable is an index if its bounds are
        const Instruction& loop = *owner[size_t(i.block)];
        all = out[size_t(loop.operands[0].id)] && out[size_t(loop.operands[1].id)];
      }
      if (all) out[id] = changed = true;
    }
  }
  return out;
}

int index_bits(const loops::Function& function, std::span<const int64_t> integers, int64_t blocks) {
  return Widths(function, integers, blocks).run();
}

}  // namespace cermet::compiler

// What is executed, in order: blocks, loops and what they carry, and what the threads of a warp or
// block do together.

#include "compiler/cuda/printer.h"
#include "ir/check.h"

namespace cermet::compiler {

void CudaPrinter::block(const Block& b) {
  ++depth_;
  for (Ref r : b.instructions) instruction(r);
  --depth_;
}

void CudaPrinter::instruction(Ref r) {
  const Instruction& i = at(r);
  if (!has_effect(i.op) && !used_[size_t(r.id)]) return;
  switch (i.op) {
    case Opcode::Constant:
    case Opcode::Splat: return;  // printed where they are used
    case Opcode::For: return loop(r);
    case Opcode::If:
      line("if ({}) {{", operand(i, 0, 0));
      block(f_.blocks[size_t(i.block)]);
      return line("}}");
    case Opcode::Result: return result(r);
    case Opcode::Load: return load(r);
    case Opcode::Store: return store(i);
    case Opcode::ScatterStore:
      for (int l = 0; l < i.lanes; ++l)
        line("{}{} = {};", guard(i, 2, l), place(i, operand(i, 0, l)), operand(i, 1, l));
      return;
    case Opcode::Report:
      for (int l = 0; l < i.lanes; ++l)
        line("if ({}) report({}, {}, {});", operand(i, 0, l), error_cell(), i.imm,
             operand(i, 1, l));
      return;
    case Opcode::Barrier: return line("__syncthreads();");
    case Opcode::LoadMatrix:
    case Opcode::LoadMatrixTransposed:
      return define_wide(
          r, fmt::format("load_matrix<{}>({} + {})", i.op == Opcode::LoadMatrixTransposed,
                         base(size_t(i.imm)), operand(i, 0, 0)));
    case Opcode::Mma: return multiply_matrices(r);
    case Opcode::CopyAsync:
      return line("copy_async({} + {}, {} + {}, {});", base(size_t(i.imm & 0xffffffff)),
                  operand(i, 0, 0), base(size_t(i.imm >> 32)), operand(i, 1, 0),
                  i.operands.size() > 2 ? operand(i, 2, 0) : "true");
    case Opcode::CopyCommit: return line("copy_commit();");
    case Opcode::CopyWait: return line("copy_wait<{}>();", i.imm);
    case Opcode::ReduceAdd:
    case Opcode::ReduceMul:
    case Opcode::ReduceMax:
    case Opcode::ReduceMin:
    case Opcode::ReduceOr:
    case Opcode::ReduceAnd: return across_lanes(r);
    default: return define(r, [&](int l) { return value(r, l); });
  }
}

void CudaPrinter::multiply_matrices(Ref r) {
  constexpr std::string_view kinds[] = {"f16", "bf16", "tf32"};
  const Instruction& i = at(r);
  std::string list;
  for (size_t k = 0; k < i.operands.size(); ++k)
    for (int l = 0; l < lanes(i.operands[k]); ++l)
      list += fmt::format("{}{}", list.empty() ? "" : ", ", operand(i, k, l));
  define_wide(r, fmt::format("mma_{}({})", kinds[i.imm], list));
}

// Values that a loop carries are variables of their own; what the body yields is computed before
// any of them changes.
void CudaPrinter::loop(Ref r) {
  const Instruction& i = at(r);
  const Block& body = f_.blocks[size_t(i.block)];
  for (size_t k = 1; k < body.parameters.size(); ++k) {
    const Ref p = body.parameters[k], initial = i.operands[k + 1];
    const std::string_view type = type_of(p);
    const int32_t v = next_++;
    for (int l = 0; l < at(p).lanes; ++l) {
      const std::string from = lane(initial, lanes(initial) == 1 ? 0 : l);
      line("{} {} = {};", type,
           at(p).lanes == 1 ? fmt::format("v{}", v) : fmt::format("v{}_{}", v, l), from);
    }
    variable_[size_t(p.id)] = v;
  }
  const Ref index = body.parameters[0];
  variable_[size_t(index.id)] = next_++;
  const std::string name = lane(index, 0);
  line("for ({} {} = {}; {} < {}; {} += {}) {{", type_of(index), name, operand(i, 0, 0), name,
       operand(i, 1, 0), name, i.imm);
  block(body);
  ++depth_;
  next_values(body);
  --depth_;
  line("}}");
}

void CudaPrinter::next_values(const Block& body) {
  std::vector<std::pair<std::string, std::string>> changes;  // variable, its next value
  bool one_of_another = false;  // a variable gets what another one held until now
  for (size_t k = 0; k < body.yields.size(); ++k) {
    const Ref p = body.parameters[k + 1], y = body.yields[k];
    if (y == p) continue;
    for (size_t other = 1; other < body.parameters.size(); ++other)
      one_of_another |= y == body.parameters[other];
    for (int l = 0; l < at(p).lanes; ++l)
      changes.emplace_back(lane(p, l), lane(y, lanes(y) == 1 ? 0 : l));
  }
  if (one_of_another) {
    for (auto& [variable, next] : changes) {
      line("const auto n{} = {};", next_, next);
      next = fmt::format("n{}", next_++);
    }
  }
  for (const auto& [variable, next] : changes) line("{} = {};", variable, next);
}

void CudaPrinter::result(Ref r) {
  const Instruction& loop = at(at(r).operands[0]);
  const Ref p = f_.blocks[size_t(loop.block)].parameters[size_t(at(r).imm) + 1];
  variable_[size_t(r.id)] = variable_[size_t(p.id)];
}

}  // namespace cermet::compiler

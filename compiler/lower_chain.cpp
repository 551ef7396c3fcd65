// The kernels of a chain become one function, whose units are the chain's blocks:
//
//   for each block:  for each kernel:  its units for the block's rows
//
// Each kernel is written by its own lowering, which is told which units to do. A local buffer has
// memory for one block only. Positions stay those of the whole buffer; its place in the scratch
// memory moves back by the rows before the block instead, so no lowering knows of it.

#include "compiler/lower_chain.h"

#include <fmt/format.h>

#include <algorithm>

#include "compiler/chain_kernels.h"
#include "compiler/lower_contract.h"
#include "compiler/lower_rows.h"
#include "compiler/lower_scope.h"
#include "compiler/row_cut.h"
#include "ir/check.h"

namespace cermet::compiler {
namespace {

using loops::Ref;

// The name of the usual one, or that of the first kernel.
std::string name_of(const Chain& chain, const KernelProgram& program) {
  const Kernel& first = program.kernels[size_t(chain.first)];
  int contractions = 0;
  bool exponentials = false;
  for (int32_t k = 0; k < chain.count; ++k) {
    const Kernel& kernel = program.kernels[size_t(chain.first) + size_t(k)];
    contractions += int(contracts(kernel));
    for (const Expr& e : kernel.exprs)
      exponentials |= e.kind == Expr::Kind::Map && e.op == ir::Op::Exp;
  }
  return (contractions > 1 && exponentials ? "attention_" : "chain_") + first.name;
}

class ChainLowering {
 public:
  ChainLowering(const Chain& chain, const KernelProgram& program, const Target& target,
                LoweredKernel& out)
      : chain_(chain), program_(program), target_(target), out_(out), frame_(out, target) {}

  void run() {
    loops::Builder& b = frame_.builder;
    const LocalMemory memory = plan_locals(program_, chain_);
    int64_t scratch = 0;  // of the kernel that needs the most
    b.for_loop(b.begin(), b.end(), 1, [&](Ref block) {
      set_rows(block);
      frame_.kernel = "chain ";
      place_locals(memory);
      for (int32_t k = 0; k < chain_.count; ++k) {
        const Kernel& kernel = program_.kernels[size_t(chain_.first) + size_t(k)];
        frame_.kernel = "chain ";
        frame_.scratch = frame_.integer("locals", 0, memory.bytes);
        set_units(kernel, k, block);
        frame_.kernel = fmt::format("{} ", k);
        out_.scratch_bytes = 0;
        write(kernel);
        scratch = std::max(scratch, out_.scratch_bytes);
      }
    });
    out_.scratch_bytes = memory.bytes + scratch;
    out_.range = chain_.blocks();
    out_.grain = 1;
  }

 private:
  const KernelProgram& program() const { return program_; }

  // The rows of the block: [first_row_, end_row_).
  void set_rows(Ref block) {
    loops::Builder& b = frame_.builder;
    frame_.kernel = "chain ";
    const Ref group = frame_.integer("group", 0, chain_.group),
              step = frame_.integer("step", 0, chain_.step);
    const Ref steps = frame_.counted("steps", 0, (chain_.group + chain_.step - 1) / chain_.step);
    const Ref start = b.mul(b.div(block, steps), group);
    const Ref inside = b.mul(b.rem(block, steps), step);
    first_row_ = b.add(start, inside);
    end_row_ = b.add(start, b.min_index(group, b.add(inside, step)));
  }

  void place_locals(const LocalMemory& memory) {
    loops::Builder& b = frame_.builder;
    for (size_t i = 0; i < chain_.locals.size(); ++i) {
      const KernelBuffer& local = program().buffers[size_t(chain_.locals[i])];
      const int64_t row_bytes = local.elements / chain_.rows * int64_t(size_of(local.dtype));
      loops::Buffer scratch;
      scratch.kind = loops::Buffer::Kind::Scratch;
      scratch.dtype = local.dtype;
      scratch.restrict_ = false;  // locals that are not needed at the same time share memory
      scratch.offset = b.sub(frame_.integer("local", int64_t(i), memory.offsets[i]),
                             b.mul(first_row_, frame_.integer("row bytes", int64_t(i), row_bytes)));
      frame_.buffers[chain_.locals[i]] = b.add_buffer(scratch);
    }
  }

  void set_units(const Kernel& kernel, int32_t k, Ref block) {
    loops::Builder& b = frame_.builder;
    const auto cut = cut_rows(kernel, program_, target_, chain_.rows);
    CERMET_CHECK(cut && (cut->tile == 0 || cut->tile == chain_.step),
                 "kernel {} does not fall into the chain's {} rows", kernel.name, chain_.rows);
    const Ref units = frame_.counted("units", k, cut->units);
    frame_.begin = b.mul(cut->tile > 0 ? block : first_row_, units);
    frame_.end = b.mul(cut->tile > 0 ? b.add(block, b.index(1)) : end_row_, units);
  }

  void write(const Kernel& kernel) {
    if (contracts(kernel) && worth_blocking(kernel))
      return write_contract(kernel, program_, target_, frame_);
    write_rows(kernel, program_, target_, frame_);
  }

  const Chain& chain_;
  const KernelProgram& program_;
  const Target& target_;
  LoweredKernel& out_;
  FunctionFrame frame_;
  Ref first_row_, end_row_;
};

}  // namespace

LoweredKernel lower_chain(const Chain& chain, const KernelProgram& program, const Target& target) {
  LoweredKernel out;
  out.function.name = name_of(chain, program);
  ChainLowering(chain, program, target, out).run();
  return out;
}

}  // namespace cermet::compiler

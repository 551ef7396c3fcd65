// The kernel around the statements, and the unit around kernels.

#include "compiler/cuda/print.h"

#include "compiler/cuda/helpers.h"
#include "compiler/cuda/prelude.h"
#include "compiler/cuda/printer.h"
#include "compiler/index_width.h"
#include "ir/check.h"

namespace cermet::compiler {
namespace {

using loops::Buffer;
using loops::Ref;

// What some effect depends on.
std::vector<bool> used_values(const loops::Function& f) {
  std::vector<bool> used(f.instructions.size(), false);
  std::vector<Ref> pending;
  const auto use = [&](Ref r) {
    if (r.id >= 0 && !used[size_t(r.id)]) used[size_t(r.id)] = true, pending.push_back(r);
  };
  for (const loops::Instruction& i : f.instructions)
    if (has_effect(i.op))
      for (Ref r : i.operands) use(r);
  for (const loops::Block& b : f.blocks)
    for (Ref r : b.yields) use(r);
  for (const Buffer& b : f.buffers) use(b.offset);
  while (!pending.empty()) {
    const Ref r = pending.back();
    pending.pop_back();
    for (Ref operand : f.instructions[size_t(r.id)].operands) use(operand);
  }
  return used;
}

}  // namespace

bool has_effect(loops::Opcode op) {
  return loops::class_of(op) != loops::OpcodeClass::Pure && op != loops::Opcode::Load &&
         op != loops::Opcode::GatherLoad;
}

CudaPrinter::CudaPrinter(const loops::Function& function, std::string_view name)
    : f_(function),
      name_(name),
      is_index_(index_values(function)),
      used_(used_values(function)),
      variable_(function.instructions.size(), -1),
      memory_arguments_(arguments_in_memory(function)) {}

std::string CudaPrinter::kernel() {
  signature();
  for (size_t k = 0; k < f_.buffers.size(); ++k)
    if (f_.buffers[k].kind == Buffer::Kind::Argument && memory_arguments_) memory_buffer(k);
  block(f_.blocks[0]);
  out_ += "}\n";
  return std::move(out_);
}

std::string CudaPrinter::body() {
  block(f_.blocks[0]);
  return std::move(out_);
}

std::string_view CudaPrinter::type_of(Ref r) const {
  if (proven(r)) return f_.index_bits == 32 ? "int" : "long long";
  return cuda_type(at(r).dtype);
}

void CudaPrinter::signature() {
  add("extern \"C\" __global__ void __launch_bounds__({}, {}) {}(", f_.threads, f_.resident, name_);
  std::string before;
  const auto parameter = [&](const std::string& text) {
    add("{}{}", before, text);
    before = ", ";
  };
  if (memory_arguments_) {
    parameter("const long long* __restrict__ arguments");
  } else {
    // Buffers in the order of their arguments, which is how the launch passes them.
    for (size_t k : buffers_by_argument()) parameter(pointer(f_.buffers[k], k));
    for (int32_t i = 0; i < f_.argument_count; ++i) parameter(fmt::format("long long a{}", i));
    parameter("long long* __restrict__ error_cell");
  }
  out_ += ") {\n";
  for (const Buffer& b : f_.buffers)
    if (b.kind == Buffer::Kind::Scratch) {
      line("extern __shared__ __align__(16) unsigned char shared_memory[];");
      break;
    }
}

std::string CudaPrinter::pointer(const Buffer& b, size_t which) const {
  return fmt::format("{}{}* {}b{}", b.written ? "" : "const ", cuda_type(b.dtype),
                     b.restrict_ ? "__restrict__ " : "", which);
}

std::vector<size_t> CudaPrinter::buffers_by_argument() const {
  std::vector<size_t> order;
  for (size_t k = 0; k < f_.buffers.size(); ++k)
    if (f_.buffers[k].kind == Buffer::Kind::Argument) order.push_back(k);
  for (size_t k = 0; k < order.size(); ++k)
    CERMET_CHECK(f_.buffers[order[k]].index == int32_t(k), "buffer {} is argument {}", order[k],
                 f_.buffers[order[k]].index);
  return order;
}

int64_t CudaPrinter::argument_position(int64_t integer) const {
  int64_t buffers = 0;
  for (const Buffer& b : f_.buffers) buffers += b.kind == Buffer::Kind::Argument;
  return buffers + integer;
}

void CudaPrinter::memory_buffer(size_t which) {
  const Buffer& b = f_.buffers[which];
  line("{} = ({}{}*)arguments[{}];", pointer(b, which), b.written ? "" : "const ",
       cuda_type(b.dtype), b.index);
}

std::string CudaPrinter::error_cell() const {
  return memory_arguments_
             ? fmt::format("(long long*)arguments[{}]", argument_position(f_.argument_count))
             : "error_cell";
}

int64_t parameter_bytes(const loops::Function& function) {
  int64_t count = function.argument_count + 1;
  for (const Buffer& b : function.buffers) count += b.kind == Buffer::Kind::Argument;
  return count * 8;
}

std::string print_cuda(const loops::Function& function, std::string_view name) {
  CERMET_CHECK(function.threads > 0, "kernel {} is for a CPU", function.name);
  return CudaPrinter(function, name).kernel();
}

std::string print_cuda_body(const loops::Function& function) {
  return CudaPrinter(function, "").body();
}

std::string print_cuda_unit(std::span<const loops::Function* const> functions) {
  std::string out(cuda_prelude());
  out += cuda_helpers(functions);
  for (size_t k = 0; k < functions.size(); ++k)
    out += print_cuda(*functions[k], fmt::format("k{}", k));
  return out;
}

}  // namespace cermet::compiler

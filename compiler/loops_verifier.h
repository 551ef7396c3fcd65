#pragma once
// The walk of verify_loops over one function. loops_verify.cpp holds the structure: buffers, blocks
// and what is visible where, loops; loops_verify_opcodes.cpp what each opcode's row says of its
// operands and result.

#include <fmt/format.h>

#include <span>
#include <string>
#include <utility>
#include <vector>

#include "compiler/loops.h"

namespace cermet::compiler::loops {

class LoopsVerifier {
 public:
  explicit LoopsVerifier(const Function& function);
  std::vector<std::string> run();

 private:
  // Which dtypes an opcode computes with.
  enum class Domain : uint8_t { Number, Real, Integer, Logic, Mask, Any };
  // Opcodes whose operands and result have one dtype and one lane count.
  struct Uniform {
    Opcode op;
    size_t operands;
    Domain domain;
  };
  static std::span<const Uniform> uniform_opcodes();
  static bool contains(Domain domain, DType dtype);
  static std::string_view text(Domain domain);

  template <class... Args>
  void wrong(fmt::format_string<Args...> format, Args&&... args) {
    wrong_.push_back(fmt::format(format, std::forward<Args>(args)...));
  }
  template <class... Args>
  void bad(Ref ref, fmt::format_string<Args...> format, Args&&... args) {
    wrong_.push_back(fmt::format("%{} {}: {}", ref.id, opcode_name(at(ref).op),
                                 fmt::format(format, std::forward<Args>(args)...)));
  }
  bool exists(Ref r) const { return r.id >= 0 && size_t(r.id) < f_.instructions.size(); }
  const Instruction& at(Ref r) const { return f_.instructions[size_t(r.id)]; }
  static bool is_opcode(Opcode op) { return op <= Opcode::Result; }
  static std::string opcode_name(Opcode op) {
    return is_opcode(op) ? std::string(name(op)) : fmt::format("opcode {}", int(op));
  }
  static bool is_dtype(DType dtype) { return size_t(dtype) < all_dtypes.size(); }
  static std::string type(DType dtype, int lanes) {
    return lanes == 1 ? std::string(name(dtype)) : fmt::format("{}x{}", name(dtype), lanes);
  }
  std::string type_of(Ref r) const { return type(at(r).dtype, at(r).lanes); }

  // Structure.
  void check_buffers();
  void check_block(int32_t index, int depth);
  bool place(Ref r, int32_t block);
  void check_instruction(Ref r, int depth);
  void check_offset(Ref r, const Buffer& b);
  void check_structure(Ref r, int depth);
  void check_loop(Ref r);
  void check_same(Ref r, Ref initial, Ref other, std::string_view what);
  void check_result(Ref r);

  // Opcodes.
  bool count(Ref r, size_t least, size_t most);
  bool expect(Ref r, size_t operand, DType dtype, int lanes);
  bool in(Ref r, Domain domain, DType dtype);
  void check_uniform(Ref r, size_t operands, Domain domain);
  void check_single(Ref r, size_t operands);
  void check_other(Ref r, int depth);
  void on_cpu(Ref r);
  void on_gpu(Ref r);
  void check_index(Ref r);
  void check_constant(Ref r);
  void check_compare(Ref r);
  void check_conversion(Ref r);
  void check_extract(Ref r);
  void check_reduction(Ref r, Domain domain);
  void check_access(Ref r);
  void check_shared_access(Ref r);
  void check_mma(Ref r);
  void check_call(Ref r);

  const Function& f_;
  std::vector<bool> visible_, placed_;  // by Ref
  std::vector<bool> block_seen_;
  std::vector<std::string> wrong_;
};

}  // namespace cermet::compiler::loops

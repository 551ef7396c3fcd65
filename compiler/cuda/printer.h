#pragma once
// The walk over one loops::Function that prints it. print.cpp holds the kernel around it,
// print_statements.cpp what is executed (blocks, loops, what a warp does together),
// print_memory.cpp loads and stores, print_values.cpp what is computed lane by lane.
//
// A value of several lanes is so many variables, v7_0, v7_1, ...; constants and splats are printed
// where they are used. Values that no effect depends on are not printed: the lowering writes a
// little more than it uses in the end, and NVRTC warns of that.

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "compiler/cuda/types.h"
#include "compiler/loops.h"
#include "ir/text_writer.h"

namespace cermet::compiler {

class CudaPrinter : private ir::TextWriter {
 public:
  CudaPrinter(const loops::Function& function, std::string_view name);

  std::string kernel();
  // The body of a device function whose buffers are its parameters.
  std::string body();

 private:
  using Block = loops::Block;
  using Buffer = loops::Buffer;
  using Instruction = loops::Instruction;
  using Opcode = loops::Opcode;
  using Ref = loops::Ref;

  template <class... Args>
  void line(fmt::format_string<Args...> text, Args&&... args) {
    out_.append(2 * size_t(depth_), ' ');
    add(text, std::forward<Args>(args)...);
    out_ += '\n';
  }

  const Instruction& at(Ref r) const { return f_.instructions[size_t(r.id)]; }
  int lanes(Ref r) const { return at(r).lanes; }
  // Integers that were proven to stay in range are plain signed numbers, which the compiler may
  // reason about; all others wrap around.
  bool proven(Ref r) const { return f_.index_bits > 0 && is_index_[size_t(r.id)]; }
  std::string_view type_of(Ref r) const;

  // The kernel around the body.
  void signature();
  std::string pointer(const Buffer& b, size_t which) const;
  std::vector<size_t> buffers_by_argument() const;
  void memory_buffer(size_t which);
  // Of an integer argument, where all arguments are one array.
  int64_t argument_position(int64_t integer) const;
  std::string error_cell() const;

  // What a value is called in one of its lanes.
  std::string lane(Ref r, int which) const;
  std::string operand(const Instruction& i, size_t which, int l) const;
  // A new variable for each lane of r.
  template <class Text>
  void define(Ref r, const Text& text) {
    const Instruction& i = at(r);
    variable_[size_t(r.id)] = next_++;
    for (int l = 0; l < i.lanes; ++l) line("const {} {} = {};", type_of(r), lane(r, l), text(l));
  }
  void define_wide(Ref r, const std::string& text);  // from a vec

  // Statements.
  void block(const Block& b);
  void instruction(Ref r);
  void loop(Ref r);
  void next_values(const Block& body);
  void result(Ref r);
  void multiply_matrices(Ref r);

  // Memory.
  std::string base(size_t buffer) const;
  std::string place(const Instruction& i, const std::string& position) const;
  std::string guard(const Instruction& i, size_t mask, int l) const;
  std::string masked(const Instruction& i, size_t mask, int l, const std::string& text) const;
  bool one_mask(const Instruction& i, size_t mask) const;
  void load(Ref r);
  void store(const Instruction& i);
  void store_lanes(const Instruction& i);

  // Values.
  void across_lanes(Ref r);
  std::string value(Ref r, int l) const;
  std::string arithmetic_value(Ref r, int l) const;

  const loops::Function& f_;
  std::string_view name_;
  std::vector<bool> is_index_;     // by Ref
  std::vector<bool> used_;         // by Ref
  std::vector<int32_t> variable_;  // by Ref: the number of its variable
  bool memory_arguments_;
  int32_t next_ = 0;
  int depth_ = 0;
};

// Whether it is printed even if nothing uses its value.
bool has_effect(loops::Opcode op);

}  // namespace cermet::compiler

#pragma once
// Writing the expressions of a kernel at one point of its space.
//
// A Scope is a point: an index for every axis, one of which may be the vector axis, where the scope
// stands for `lanes` consecutive points, some of them masked off. KernelWriter evaluates
// expressions in a scope: it turns index maps into positions, picks the kind of memory access
// (uniform, contiguous or gathered) from the stride along the vector axis, applies the op table's
// `lower` column, and rounds f16 and bf16 after each op, as strict numerics demand.
//
// What the shape decides (extents, strides, offsets) becomes an integer argument, so that one
// function serves all shapes of its class. Only 0 and 1 are literal, which change which code is
// right, and lanes that lie 2 or 4 elements apart, which are loads and a shuffle.

#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <unordered_map>

#include "compiler/loops_builder.h"
#include "compiler/program.h"

namespace cermet::compiler {

struct Scope {
  std::vector<loops::Ref> index;   // by axis of the space (outer, then inner); scalar i64
  int lanes = 1;                   // along the writer's vector axis
  loops::Ref mask;                 // which lanes exist, scalar: all or none; absent: all
  std::vector<loops::Ref> values;  // by expression: what was evaluated here or around here
};

// The dtype in which values of a dtype are held in registers: f32 for f16 and bf16.
DType held(DType dtype);

// The function that a kernel is written into. Several kernels may share one, one after the other
// (lower_chain.h): they share its buffers, and each has its own part of the integer arguments and,
// where `scratch` says, of the scratch memory.
struct FunctionFrame {
  FunctionFrame(LoweredKernel& lowered, const Target& target)
      : out(lowered), builder(lowered.function, target) {}

  // An integer of the kernel at hand: an argument, so that one function serves all values, but for
  // 0 and 1, which are worth a function of their own.
  loops::Ref integer(std::string_view role, int64_t which, int64_t value);
  // The same, never literal: where 1 is as common as other values and saves nothing.
  loops::Ref counted(std::string_view role, int64_t which, int64_t value);

  LoweredKernel& out;
  loops::Builder builder;
  loops::Ref begin, end;  // units of the present kernel; absent: those of the function
  loops::Ref scratch;     // where the present kernel's scratch memory begins, in bytes; absent: 0
  std::string kernel;     // tells the roles of its integers from those of other kernels
  // By kernel, role, which and value: which argument of the function.
  std::unordered_map<std::string, int32_t> arguments;
  std::string argument_key;            // the last one that was asked for
  std::map<int32_t, int32_t> buffers;  // of the program: of the function
};

class KernelWriter {
 public:
  KernelWriter(const Kernel& kernel, const KernelProgram& program, const Target& target,
               LoweredKernel& out);
  KernelWriter(const Kernel& kernel, const KernelProgram& program, FunctionFrame& frame);

  loops::Builder& builder() { return b_; }
  // The units that are to be done.
  loops::Ref begin() { return frame_.begin ? frame_.begin : b_.begin(); }
  loops::Ref end() { return frame_.end ? frame_.end : b_.end(); }
  const Kernel& kernel() const { return kernel_; }
  int64_t rank() const { return int64_t(space_.size()); }
  const Shape& space() const { return space_; }  // outer, then inner

  // Which axis lanes run along; -1: none. Set once, before anything is evaluated.
  void set_vector_axis(int64_t axis) { vector_axis_ = axis; }

  // An int64 that the shape decides: literal where it is 0 or 1, else an argument. Equal values
  // with one role share one argument; values with different roles never do, since they may differ
  // for the next shape.
  loops::Ref integer(std::string_view role, int64_t which, int64_t value) {
    return frame_.integer(role, which, value);
  }
  loops::Ref counted(std::string_view role, int64_t which, int64_t value) {
    return frame_.counted(role, which, value);
  }
  loops::Ref extent(int64_t axis) { return integer("extent", axis, space_[size_t(axis)]); }

  // The value of an expression, held in held(dtype), of scope.lanes lanes or scalar where it does
  // not vary along the vector axis. Reduce, ArgReduce, Scan and Contract must be in scope.values
  // already.
  loops::Ref evaluate(Scope& scope, int32_t expr);
  // Copies what a Load reads, scope.lanes contiguous elements of 16 bytes in all, into shared
  // memory (Opcode::CopyAsync).
  void copy(Scope& scope, int32_t load, int32_t to, loops::Ref to_position);
  // Stores a value at the store's place; scatter stores combine.
  void store(Scope& scope, const KernelStore& store);
  // Tells the processor that a Load will be made in a scope, or a store's place be used.
  // Nothing, where lanes of the load do not lie side by side.
  void prefetch(Scope& scope, int32_t load, bool near = false);
  void prefetch(Scope& scope, const KernelStore& store);
  // What is at the place of a store without index, in held().
  loops::Ref stored(Scope& scope, const KernelStore& store);

  // Where a scatter store goes: an index out of range is reported, and masked in *mask, into which
  // the scope's own mask goes too.
  loops::Ref scatter_position(Scope& scope, const KernelStore& store, loops::Ref* mask);

  // Stores to this buffer of the program go past the caches. Before the first of them.
  void stream(int32_t program_buffer) { streamed_.insert(program_buffer); }
  // Results may lie where operands do (in_place.h). Before the first access.
  void allow_overwrites();
  // The kernel's argument for a buffer of the program.
  int32_t buffer(int32_t program_buffer);
  int32_t scratch_buffer(DType dtype, loops::Ref byte_offset);
  int32_t local_buffer(DType dtype, int64_t elements);

  // value as it is after a round trip through dtype, in held(dtype).
  loops::Ref round(loops::Ref value, DType dtype);
  loops::Ref load_held(int32_t buffer, DType dtype, loops::Ref position, int lanes,
                       loops::Ref mask);
  void store_held(int32_t buffer, DType dtype, loops::Ref position, loops::Ref value,
                  loops::Ref mask);

  loops::Ref both(loops::Ref mask1, loops::Ref mask2);  // and; an empty mask is all

 private:
  struct Place {
    loops::Ref position;     // scalar: of the first lane; or vector: of each lane
    int64_t vector_stride;   // if position is scalar: 0 (the same for all lanes) or 1
    loops::Ref scalar_mask;  // of all lanes at once
    loops::Ref vector_mask;  // lane by lane, without the scope's own
  };
  Place place(Scope& scope, const ir::ViewMap& map, std::string_view role, int64_t which);
  loops::Ref load(Scope& scope, int32_t program_buffer, Place place);
  bool moves_off_vectors(const Scope& scope, int64_t stride) const;
  loops::Ref in_lanes(const Scope& scope, const Place& at);
  loops::Ref evaluate_gather(Scope& scope, const Expr& expr, int32_t which);
  loops::Ref evaluate_map(Scope& scope, const Expr& expr);
  loops::Ref checked_index(Scope& scope, std::string_view op, int32_t index_expr, int64_t extent,
                           int64_t which, loops::Ref* inside);

  const Kernel& kernel_;
  const KernelProgram& program_;
  std::unique_ptr<FunctionFrame> own_;
  FunctionFrame& frame_;
  LoweredKernel& out_;
  loops::Builder& b_;
  const bool contracts_;
  Shape space_;
  int64_t vector_axis_ = -1;
  std::set<int32_t> streamed_;
  std::set<int32_t> overlapping_;
};

// One step of a reduction, scan or scatter, on held values.
loops::Ref combine(loops::Builder& b, ir::Combine combine, loops::Ref x, loops::Ref y);
// x * y + z, fused for floats where the target can: sums of products are the one place where
// rounding once is allowed.
loops::Ref multiply_add(loops::Builder& b, loops::Ref x, loops::Ref y, loops::Ref z);
// What leaves every x as it is: -0.0 for sums (0.0 would lose the sign of -0.0).
loops::Ref identity(loops::Builder& b, ir::Combine combine, DType dtype, int lanes);

}  // namespace cermet::compiler

#pragma once
// The kernel level: the fused program. Each kernel is a small expression list over an index space,
// and every kind of fusion is the same picture:
//
//   The space is outer x inner. The outer axes are parallel. For each outer index ("row") the inner
//   axes are walked. An expression is either one value per row or one per element of the row
//   (`inner`). Reduce, ArgReduce and Contract turn element expressions into row expressions; a row
//   expression used by an element expression is a broadcast.
//
//   a map                  inner is empty
//   sum(x*x, 1) + b        outer = rows, inner = columns; the reduction's prologue is per element,
//                          its epilogue per row
//   softmax, layer norm    several reductions over the same inner axes, then element stores: a row
//                          program
//   sum(x, 0)              outer = columns, inner = rows: the same thing; lowering picks the order
//                          of the loops
//   matmul, convolution    one Contract(a, b) over the inner axes; a or b do not depend on some of
//                          the outer axes; element expressions below it are prologue, row
//                          expressions above it epilogue
//   scatter                a store with a computed position; the inner axes are walked in order
//
// Invariants (verified by verify_kernels):
//   - expressions come after their operands; a row expression never has an element expression as
//     operand, except Reduce, ArgReduce and Contract
//   - Load, Position and Gather maps have the shape outer (row) or outer + inner (element)
//   - every position is inside its buffer for every index of the space (masked elements excepted)
//   - no two elements of a store without index reach one position; every element of a result is
//     stored by someone
//   - a kernel stores to no buffer that it loads from, except Scatter's own target
//   - kernels are listed in an order in which buffers are written before they are read

#include <optional>
#include <string>
#include <vector>

#include "ir/graph.h"
#include "ir/op.h"
#include "ir/view.h"

namespace cermet::compiler {

struct KernelBuffer {
  enum class Kind : uint8_t { Parameter, Temporary, Result };
  Kind kind;
  int64_t slot = 0;  // Parameter, Result: which
  DType dtype;
  int64_t elements;
  bool donated = false;  // Parameter: once read, it may be written over
};

struct Expr {
  // Load       buffer[map(index)], 0 where masked
  // Position   map(index) itself as i64, 0 where masked: iota and everything made from it
  // Constant   bits
  // Map        an elementwise op, Cast or Bitcast of the operands
  // Reduce     operand over the inner axes
  // ArgReduce  row-major position along the inner axes (there is one) of the first extremum
  // Scan       running combination along the inner axis (there is one)
  // Contract   sum over the inner axes of operands[0] * operands[1]; accumulates f16 and bf16 in
  //            f32
  // Gather     buffer[map(index) + operand * stride] where 0 <= operand < extent, else an error is
  //            reported
  enum class Kind : uint8_t {
    Load,
    Position,
    Constant,
    Map,
    Reduce,
    ArgReduce,
    Scan,
    Contract,
    Gather
  };
  // `once`: nothing else in the program uses the value than one expression of this kernel. Fast
  // numerics may then round it otherwise, or not at all, and no two places disagree about it: the
  // exponential of x - max(x) is at most 1 only if both are the same x.
  Kind kind;
  DType dtype;
  bool inner = false;                       // one value per element, not per row
  bool once = false;                        // Map, fast numerics: see below
  ir::Op op = ir::Op::Constant;             // Map
  ir::Combine combine = ir::Combine::Sum;   // Reduce, ArgReduce, Scan
  bool reverse = false, exclusive = false;  // Scan
  SmallVector<int32_t, 3> operands;         // indices into Kernel::exprs
  int32_t buffer = -1;                      // Load, Gather
  int64_t stride = 0, extent = 0;           // Gather
  uint64_t bits = 0;                        // Constant
  std::optional<ir::ViewMap> map;           // Load, Position, Gather
};

struct KernelStore {
  int32_t value;  // the expression
  int32_t buffer;
  ir::StridedMap map;  // shape: outer or outer + inner, as the value; nothing masked
  // Scatter: the position is map(index) + exprs[index] * stride; 0 <= exprs[index] < extent is
  // checked. Elements are combined with what is there, in the order of the inner axis.
  int32_t index = -1;
  // Scatter: an element expression that gives the positions along the inner axis sorted by the
  // index, equal ones in order; -1: not known. It changes nothing but how fast a scatter can be.
  int32_t order = -1;
  int64_t stride = 0, extent = 0;
  ir::Combine combine = ir::Combine::Set;
};

struct Kernel {
  // Fused: everything above. Sort: stable argsort of buffer `sort_input` [outer..., inner] into
  // stores[0].buffer.
  enum class Kind : uint8_t { Fused, Sort };
  Kind kind = Kind::Fused;
  std::string name;  // stable, from its ops: "softmax"-like readable words, unique in the program
  Shape outer, inner;
  std::vector<Expr> exprs;
  std::vector<KernelStore> stores;
  int32_t sort_input = -1;  // Sort; row-major [outer..., inner...]
  bool descending = false;  // Sort
};

// Bytes of the buffer, for weighing one plan against another: exact up to 2^53.
inline double bytes_of(const KernelBuffer& buffer) {
  return double(buffer.elements) * double(size_of(buffer.dtype));
}

// Calls f with every buffer that the kernel reads, once for each place that reads it.
template <typename F>
void each_read(const Kernel& kernel, F&& f) {
  for (const Expr& e : kernel.exprs)
    if (e.buffer >= 0) f(e.buffer);
  if (kernel.sort_input >= 0) f(kernel.sort_input);
}

// The same for every buffer that it stores to or reads.
template <typename F>
void each_access(const Kernel& kernel, F&& f) {
  for (const KernelStore& s : kernel.stores) f(s.buffer);
  each_read(kernel, f);
}

inline bool scatters(const Kernel& kernel) {
  for (const KernelStore& s : kernel.stores)
    if (s.index >= 0) return true;
  return false;
}

// Whether the kernel is a matrix product or a convolution.
inline bool contracts(const Kernel& kernel) {
  for (const Expr& e : kernel.exprs)
    if (e.kind == Expr::Kind::Contract) return true;
  return false;
}

// A fusion that would have been possible to want, and why it was not made.
struct Refusal {
  std::string producer, consumer;  // as "%12 = exp : f32[4,8]"
  std::string reason;
};

// Kernels that run as one launch, block by block: the first kernel does some rows, then the next
// one does those rows, and so on, while what they hand to each other is in the cache. Of a
// temporary that only they use, just the rows of the present block exist. Every kernel's space
// falls into the same number of rows, and what it loads of the buffers that the chain stores is in
// the row that it computes. The numbers are those of the kernels on their own, bit for bit.
struct Chain {
  int32_t first = 0, count = 0;  // kernels [first, first + count)
  int64_t rows = 1;
  int64_t group = 1;            // rows divide into groups of so many, which no block crosses
  int64_t step = 1;             // rows of a block; the last one of a group may have fewer
  std::vector<int32_t> locals;  // the temporaries of which only a block exists

  int64_t blocks() const { return rows / group * ((group + step - 1) / step); }
};

struct KernelProgram {
  std::vector<KernelBuffer> buffers;
  std::vector<Kernel> kernels;  // in the order of execution
  std::vector<Chain> chains;    // in this order, and apart from each other
  std::vector<Refusal> refusals;
  // Maps may write over what they read (in_place.h): the target is a CPU.
  bool in_place = false;
};

}  // namespace cermet::compiler

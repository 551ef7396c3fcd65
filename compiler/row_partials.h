#pragma once
// The partial results of a row program's reductions and scans, as its loops carry them.
//
// What a stage accumulates is a list of values: for each expression its running value, and for
// ArgReduce the position of that value too. One such list is a set. A loop carries several sets,
// one after another: one for each vector in flight, or for each row that runs side by side with
// others; with lanes along an inner axis and without masked memory one more, of scalars, for the
// end of the axis.
//
// Sets are combined in an order that the shape alone decides, so that results never depend on
// threads.

#include <span>
#include <vector>

#include "compiler/lower_scope.h"
#include "compiler/row_plan.h"

namespace cermet::compiler {

// The partial result of one expression.
struct Partial {
  loops::Ref value;
  loops::Ref position;  // ArgReduce only
};

// Before the first element, in this many lanes.
Partial start_of(loops::Builder& b, const Kernel& kernel, const Expr& expr, int lanes);
// x and y combined, x standing for earlier elements. An extremum's first position wins, and NaN
// wins over all.
Partial merge(loops::Builder& b, const Expr& expr, Partial x, Partial y);
// All lanes combined, in an order that is always the same.
Partial across_lanes(loops::Builder& b, const Expr& expr, Partial partial);

class RowPartials {
 public:
  RowPartials(KernelWriter& writer, const RowPlan& plan)
      : kernel_(writer.kernel()), plan_(plan), w_(writer), b_(writer.builder()) {}

  size_t per_set(int stage) const;
  // All sets of a stage before the first element.
  std::vector<loops::Ref> starts(int stage, const std::vector<Scope>& rows);

  // merge() for all sets of a stage.
  std::vector<loops::Ref> merge_all(int stage, std::span<const loops::Ref> x,
                                    std::span<const loops::Ref> y);

  // Partial results become the values of the rows' reductions.
  void finish(int stage, std::vector<Scope>& rows, std::span<const loops::Ref> carried);

 private:
  void append_start(int stage, int lanes, std::vector<loops::Ref>& sets);

  const Kernel& kernel_;
  const RowPlan& plan_;
  KernelWriter& w_;
  loops::Builder& b_;
};

}  // namespace cermet::compiler

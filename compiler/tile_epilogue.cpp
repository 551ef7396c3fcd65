#include "compiler/tile_epilogue.h"

#include "compiler/tile_loads.h"

namespace cermet::compiler {

using loops::Ref;

TileEpilogue::TileEpilogue(KernelWriter& w, const TilePlan& plan, std::vector<Ref> at,
                           Ref first_row, Ref first_column)
    : w_(w),
      b_(w.builder()),
      plan_(plan),
      at_(std::move(at)),
      first_row_(first_row),
      first_column_(first_column),
      shared_(w.scratch_buffer(plan.dtype, b_.index(0))) {}

void TileEpilogue::finish_slab(const std::function<Ref(Ref)>& row_of) {
  w_.set_vector_axis(plan_.epilogue_axis);
  const Kernel& kernel = w_.kernel();
  const int32_t contract = plan_.groups.contract;
  const int lanes = plan_.epilogue_lanes;
  const int64_t vectors = plan_.columns.tile / lanes;
  const Ref count = b_.index(plan_.slab_rows() * vectors);
  b_.for_loop(b_.thread(), count, plan_.threads(), [&](Ref v) {
    Scope scope{at_, lanes, {}, std::vector<Ref>(kernel.exprs.size())};
    const Ref slab_row = b_.div(v, b_.index(vectors));
    const Ref slab_column = b_.mul(b_.rem(v, b_.index(vectors)), b_.index(lanes));
    const Ref row = b_.add(first_row_, row_of(slab_row));
    const Ref column = b_.add(first_column_, slab_column);
    if (plan_.rows.extent % plan_.rows.tile != 0)
      scope.mask = b_.lt(row, w_.integer("rows", 0, plan_.rows.extent));
    if (plan_.columns.extent % plan_.columns.tile != 0)
      scope.mask =
          w_.both(scope.mask, b_.lt(column, w_.integer("columns", 0, plan_.columns.extent)));
    spread_index(w_, scope, plan_.rows.axes, row);
    spread_index(w_, scope, plan_.columns.axes, column);
    const Ref place = b_.add(b_.mul(slab_row, b_.index(plan_.slab_line)), slab_column);
    scope.values[size_t(contract)] =
        w_.round(b_.load(shared_, place, lanes), kernel.exprs[size_t(contract)].dtype);
    for (const KernelStore& store : kernel.stores) w_.store(scope, store);
  });
}

}  // namespace cermet::compiler

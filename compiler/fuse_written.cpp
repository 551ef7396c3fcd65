#include "compiler/fuse_written.h"

#include <algorithm>
#include <optional>

namespace cermet::compiler {

using ir::Op;

namespace {

// Makes the groups that fill the buffer of one node, whose users wait for all of them.
class Filler {
 public:
  Filler(PlanBook& book, int32_t node, const Uses& uses, int32_t buffer)
      : book_(book), node_(*book.facts(node).node), n_(node), uses_(uses), buffer_(buffer) {}

  void fill() {
    switch (node_.op) {
      case Op::Concat: concat(); break;
      case Op::Scatter: scatter(); break;
      case Op::ArgSort: sort(); break;
      default: copy(operand(0), uses_); break;
    }
  }

 private:
  int32_t operand(size_t k) const { return book_.facts(n_).operands[k]; }
  const Shape& shape_of(int32_t n) const { return book_.node(n).shape; }

  // The buffer gets the elements of `from`, at `slice`.
  int32_t copy(int32_t from, const Uses& uses, std::optional<ir::StridedMap> slice = std::nullopt) {
    int32_t identity = -1;
    const int32_t g = book_.new_group(n_, shape_of(from), uses, identity);
    book_.add_root(g, from, identity, buffer_);
    book_.group(g).roots.back().slice = std::move(slice);
    book_.add_use(from, g, identity, n_);
    return g;
  }

  void concat() {
    const size_t axis = size_t(node_.as<ir::AxisAttr>().axis);
    const Strides row = row_major_strides(node_.shape);
    int64_t start = 0;
    for (int32_t part : book_.facts(n_).operands) {
      const Shape& shape = shape_of(part);
      if (numel(shape) == 0) continue;
      ir::StridedMap slice = ir::StridedMap::contiguous(shape);
      slice.strides = row, slice.offset = start * row[axis];
      start += shape[axis];
      copy(part, uses_, std::move(slice));
    }
  }

  void scatter() {
    const auto& attr = node_.as<ir::CombineAttr>();
    const size_t axis = size_t(attr.axis);
    const int32_t base = operand(0), index = operand(1), updates = operand(2);
    const Shape& shape = shape_of(updates);
    if (numel(shape) == 0) {
      copy(base, uses_);
      return;
    }
    int32_t identity = -1;
    const int32_t g = book_.new_group(n_, shape, uses_, identity);
    Group& group = book_.group(g);
    group.kind = Group::Kind::Scatter, group.one_inner = true;
    size_t d = 0;
    for (size_t a = 0; a < shape.size(); ++a)
      if (shape[a] != 1) group.inner[d++] = a == axis;
    const Strides row = row_major_strides(node_.shape);
    Group::Root root;
    root.node = updates, root.map = identity, root.buffer = buffer_, root.index = index;
    root.slice = ir::StridedMap::contiguous(shape);
    root.slice->strides = row;
    root.slice->strides[axis] = 0;
    root.stride = row[axis], root.extent = node_.shape[axis], root.combine = attr.combine;
    group.roots.push_back(std::move(root));
    book_.add_use(index, g, identity, n_);
    book_.add_use(updates, g, identity, n_);
    // The base first: its group is a stage above.
    Uses before = uses_;
    before.push_back({g, identity, n_, false});
    const int32_t first = copy(base, before);
    book_.loads(g, book_.group(first).stage);
  }

  void sort() {
    int32_t identity = -1;
    const int32_t g = book_.new_group(n_, node_.shape, uses_, identity);
    book_.group(g).kind = Group::Kind::Sort, book_.group(g).sort_node = n_;
    book_.add_root(g, n_, identity, buffer_);
    book_.need_buffer(operand(0), g, n_);
  }

  PlanBook& book_;
  const ir::Node& node_;
  const int32_t n_;
  const Uses& uses_;
  const int32_t buffer_;
};

}  // namespace

void plan_written(PlanBook& book, int32_t n, Uses uses, const std::vector<int32_t>& stores) {
  if (uses.empty() && stores.empty()) return;
  Plan& plan = book.plan();
  const int32_t buffer = stores.empty() ? book.temporary(n) : stores[0];
  plan.buffer_of[size_t(n)] = buffer;
  for (size_t i = 1; i < stores.size(); ++i) {  // the same result again: a copy
    int32_t identity = -1;
    const int32_t copy = book.new_group(n, book.node(n).shape, {}, identity);
    book.add_root(copy, n, identity, stores[i]);
    uses.push_back({copy, identity, n, false});
  }
  const size_t first = plan.groups.size();
  Filler(book, n, uses, buffer).fill();
  int32_t stage = 1 << 30;
  for (size_t g = first; g < plan.groups.size(); ++g) stage = std::min(stage, plan.groups[g].stage);
  book.load_all(uses, stage);
}

}  // namespace cermet::compiler

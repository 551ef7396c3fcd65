#pragma once
// The interpreter's structural ops (ir/interpreter.h says how they compute): each takes the node
// and the values of its operands, whose dtypes and shapes fit, and returns the node's value.

#include "ir/host_array.h"
#include "ir/node.h"
#include "ir/word.h"

namespace cermet::ir {

// All elements; W is the word type of their dtype.
template <class W>
std::vector<W> words_of(const HostArray& x) {
  std::vector<W> words(size_t(x.numel()));
  unpack(x.dtype, x.bytes.data(), 0, x.numel(), words.data());
  return words;
}

HostArray interpret_view(const Node& node, const HostArray& x);
HostArray interpret_reduce(const Node& node, const HostArray& x);
HostArray interpret_arg_reduce(const Node& node, const HostArray& x);
HostArray interpret_scan(const Node& node, const HostArray& x);
HostArray interpret_dot(const Node& node, const HostArray& a, const HostArray& b);
HostArray interpret_conv(const Node& node, const HostArray& x, const HostArray& w);
HostArray interpret_gather(const Node& node, const HostArray& x, const HostArray& index);
HostArray interpret_scatter(const Node& node, const HostArray& x, const HostArray& index,
                            const HostArray& updates);
// Scatter with another combine than Set; targets[i] is the position in x that updates[i] goes to.
HostArray interpret_scatter_combine(const Node& node, const HostArray& x,
                                    std::span<const int64_t> targets, const HostArray& updates);
HostArray interpret_concat(const Node& node, std::span<const HostArray* const> parts);
HostArray interpret_argsort(const Node& node, const HostArray& x);

}  // namespace cermet::ir

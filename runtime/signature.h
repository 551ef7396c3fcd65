#pragma once
// The pending part of a graph in canonical form: what the engine looks plans up by.
//
// Two requests have the same signature exactly when one program serves both: equal ops, dtypes,
// shapes and attributes, with buffers and scalars replaced by slots. So a new learning rate or a
// new random key is a new argument, not a new program. Constants that programs are specialised on
// (small whole numbers, halves, infinities, NaN, bool) stay in the signature.

#include <string>
#include <vector>

#include "ir/graph.h"

namespace cermet::runtime {

struct Request {
  std::string signature;  // compared byte for byte
  std::vector<ir::Value>
      inputs;  // by slot: a Data node, a node with a computed value, or a Constant (a scalar)
};

// What the roots need, down to buffers that exist.
Request make_request(std::span<const ir::Value> roots);

// The same as a graph: slot i of the request is parameter i; a scalar is a parameter of rank 0.
ir::Graph make_graph(std::span<const ir::Value> roots, const Request& request);

}  // namespace cermet::runtime

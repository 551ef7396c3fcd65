#pragma once
// The pending part of a graph in canonical form: what the engine looks plans up by.
//
// Two requests have the same signature exactly when one program serves both: equal ops, dtypes,
// shapes, attributes and numerics, with buffers and scalars replaced by slots. So a new learning
// rate or a new random key is a new argument, not a new program. Constants that programs are
// specialised on (small whole numbers, halves, infinities, NaN, bool) stay in the signature, unless
// they divide.

#include "cermet/small_vector.h"
#include "compiler/target.h"
#include "ir/graph.h"

namespace cermet::runtime {

// Words that say all of this, compared one by one, and their hash.
struct Signature {
  SmallVector<int64_t, 96> words;
  uint64_t hash = 0;
  friend bool operator==(const Signature& a, const Signature& b) {
    return a.hash == b.hash && a.words == b.words;
  }
};
struct SignatureHash {
  size_t operator()(const Signature& signature) const { return signature.hash; }
};

// A request is taken in one walk and not looked at again in the graph, since other threads may
// compute nodes of it meanwhile: what was pending at the walk is pending in the plan.
struct Request {
  Signature signature;
  compiler::Numerics numerics;  // the signature has this and the next, too
  int64_t memory_budget = 0;    // compiler::Target::memory_budget
  // By slot: a Data node, a node with a computed value, or a Constant (a scalar).
  SmallVector<ir::Value, 8> inputs;
  // What the roots need, operands before users, down to the inputs. The roots keep it alive.
  SmallVector<const ir::Node*, 32> nodes;
  SmallVector<uint8_t, 32> is_input;  // of each node; the inputs are in this order
  SmallVector<int64_t, 48> operands;  // positions in nodes: those of all nodes, one after the other
  SmallVector<int64_t, 4> roots;      // positions in nodes
  SmallVector<int64_t, 4> donated;    // slots whose memory results may be written over, ascending
};

// What a program receives instead of computing it: a buffer that exists, or a scalar.
bool is_input(const ir::Node& node);
// Whether the op is an identity that only gradients look at.
bool passes_through(ir::Op op);

// What the roots need, down to buffers that exist. Of the buffers that are `donated`, those that
// are among the inputs are so in the request; the signature has them, too.
Request make_request(std::span<const ir::Value> roots, compiler::Numerics numerics = {},
                     int64_t memory_budget = 0, std::span<const ir::Value> donated = {});

// The same as a graph: slot i of the request is parameter i; a scalar is a parameter of rank 0.
ir::Graph make_graph(const Request& request);

}  // namespace cermet::runtime

#pragma once
// Graphs: a sequence of launches and copies that is recorded once and then given to the card as a
// whole, which costs the host about as much as one launch.

#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "runtime/cuda/stream.h"

namespace cermet::runtime::cuda {

// Movable, not copyable. Nothing in it keeps the memory and the functions that it names; the owner
// does, as long as the graph may run. Not thread-safe.
class Graph {
 public:
  // Records what `work` gives to the stream, without running it. It may launch kernels, copy
  // between addresses of cards, and let other streams wait for this one and this for them; it may
  // not wait, allocate fresh memory or copy from or to the host. What it throws is thrown on, and
  // the stream is then as it was.
  static Graph capture(const Stream& stream, const std::function<void()>& work);

  Graph(Graph&& other) noexcept;
  Graph& operator=(Graph&& other) noexcept;
  ~Graph();

  // Runs it when the stream comes to it.
  void launch(const Stream& stream) const;

  // Records anew in place of what it held: quick where only arguments and sizes differ, otherwise
  // as a new capture. Returns whether it was quick. If `work` throws, the graph stays as it was.
  bool recapture(const Stream& stream, const std::function<void()>& work);

 private:
  explicit Graph(std::shared_ptr<const Card> card) : card_(std::move(card)) {}
  std::shared_ptr<const Card> card_;
  CUgraphExec_st* executable_ = nullptr;
  std::shared_ptr<const std::string> text_;  // what it holds, for the log of launches
};

}  // namespace cermet::runtime::cuda

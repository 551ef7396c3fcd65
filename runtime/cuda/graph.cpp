#include "runtime/cuda/graph.h"

#include <fmt/format.h>

namespace cermet::runtime::cuda {
namespace {

// A graph as it was recorded, destroyed with this.
struct Recording {
  const Card& card;
  CUgraph_st* graph = nullptr;
  std::shared_ptr<const std::string> text;

  explicit Recording(const Card& of) : card(of) {}
  Recording(const Recording&) = delete;
  Recording& operator=(const Recording&) = delete;
  ~Recording() {
    if (graph) card.driver().GraphDestroy(graph);
  }

  void record(const Stream& stream, const std::function<void()>& work) {
    const Driver& driver = card.driver();
    const int64_t before = card.launches().count();
    // Of this thread: what other threads do meanwhile is none of this graph's business.
    card.check(driver.StreamBeginCapture(stream.handle(), CaptureMode::ThreadLocal),
               "cuStreamBeginCapture");
    try {
      work();
    } catch (...) {
      // Ends the capture whatever state it is in; a graph that comes of it is thrown away.
      driver.StreamEndCapture(stream.handle(), &graph);
      throw;
    }
    card.check(driver.StreamEndCapture(stream.handle(), &graph), "cuStreamEndCapture");
    text = std::make_shared<const std::string>(fmt::format("a graph of {} launches ({})",
                                                           card.launches().count() - before,
                                                           card.launches().kernels_since(before)));
  }

  CUgraphExec_st* instantiate() const {
    CUgraphExec_st* result = nullptr;
    card.check(card.driver().GraphInstantiateWithFlags(&result, graph, 0),
               "cuGraphInstantiateWithFlags");
    return result;
  }
};

}  // namespace

Graph Graph::capture(const Stream& stream, const std::function<void()>& work) {
  Graph result(stream.shared_card());
  const Card::Current current(*result.card_);
  Recording recording(*result.card_);
  recording.record(stream, work);
  result.executable_ = recording.instantiate();
  result.text_ = std::move(recording.text);
  return result;
}

Graph::Graph(Graph&& other) noexcept
    : card_(std::move(other.card_)),
      executable_(std::exchange(other.executable_, nullptr)),
      text_(std::move(other.text_)) {}

Graph& Graph::operator=(Graph&& other) noexcept {
  std::swap(card_, other.card_);
  std::swap(executable_, other.executable_);
  std::swap(text_, other.text_);
  return *this;
}

Graph::~Graph() {
  // A run that is not finished yet keeps what it needs.
  if (executable_ && !forked()) card_->driver().GraphExecDestroy(executable_);
}

void Graph::launch(const Stream& stream) const {
  const Card::Current current(*card_);
  if (!card_->lost()) card_->launches().add(text_);
  card_->check(card_->driver().GraphLaunch(executable_, stream.handle()), "cuGraphLaunch");
  if (card_->waits_after_launch() && !stream.capturing()) stream.synchronize();
}

bool Graph::recapture(const Stream& stream, const std::function<void()>& work) {
  const Card::Current current(*card_);
  Recording recording(*card_);
  recording.record(stream, work);
  GraphUpdate update{};
  const Result result = card_->driver().GraphExecUpdate(executable_, recording.graph, &update);
  const bool quick = result == Result::Success;
  if (!quick) {
    if (result != Result::GraphExecUpdateFailure) card_->fail(result, "cuGraphExecUpdate");
    CUgraphExec_st* fresh = recording.instantiate();
    card_->driver().GraphExecDestroy(std::exchange(executable_, fresh));
  }
  text_ = std::move(recording.text);
  return quick;
}

}  // namespace cermet::runtime::cuda

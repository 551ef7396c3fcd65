#include "runtime/memory_budget.h"

#include <fmt/format.h>

#include <atomic>

#include "cermet/memory.h"
#include "runtime/api.h"
#include "runtime/devices.h"
#include "runtime/tensor_state.h"

namespace cermet {
namespace {

std::atomic<int64_t> budget_now = 0;

}  // namespace

void set_memory_budget(int64_t bytes, SourceLocation where) {
  if (bytes < 0)
    throw Error(fmt::format("set_memory_budget: {} bytes are less than none", bytes), where);
  budget_now = bytes;
}
int64_t memory_budget() { return budget_now; }

int64_t planned_bytes(std::span<const Tensor> tensors, SourceLocation where) {
  return runtime::called("planned_bytes", where, [&] {
    std::vector<std::shared_ptr<runtime::TensorState>> states;
    for (const Tensor& t : tensors) states.push_back(t.state(where));
    return runtime::planned_bytes(runtime::pending_values(states));
  });
}
int64_t planned_bytes(std::initializer_list<Tensor> tensors, SourceLocation where) {
  return planned_bytes(std::span(tensors.begin(), tensors.size()), where);
}

namespace runtime {

int64_t current_memory_budget() { return budget_now; }

}  // namespace runtime
}  // namespace cermet

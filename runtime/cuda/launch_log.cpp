#include "runtime/cuda/launch_log.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace cermet::runtime::cuda {

std::string to_string(std::string_view kernel, const LaunchShape& shape) {
  const auto& [grid, block, shared] = shape;
  return fmt::format("{}<<<({},{},{}), ({},{},{}), {}>>>", kernel, grid[0], grid[1], grid[2],
                     block[0], block[1], block[2], shared);
}

void LaunchLog::add(std::string_view kernel, const LaunchShape& shape) {
  const std::lock_guard lock(mutex_);
  Entry& entry = entries_[size_t(count_++ % kept)];
  entry.length = uint8_t(std::min(kernel.size(), entry.kernel.size()));
  std::copy_n(kernel.begin(), entry.length, entry.kernel.begin());
  entry.shape = shape;
  entry.graph.reset();
}

void LaunchLog::add(std::shared_ptr<const std::string> graph) {
  const std::lock_guard lock(mutex_);
  entries_[size_t(count_++ % kept)].graph = std::move(graph);
}

std::string LaunchLog::text() const {
  const std::lock_guard lock(mutex_);
  std::string result;
  for (int64_t i = count_ - 1; i >= std::max<int64_t>(count_ - kept, 0); --i) {
    const Entry& entry = entries_[size_t(i % kept)];
    if (!result.empty()) result += ", ";
    result +=
        entry.graph ? *entry.graph : to_string({entry.kernel.data(), entry.length}, entry.shape);
  }
  return result;
}

std::string LaunchLog::kernels_since(int64_t count) const {
  const std::lock_guard lock(mutex_);
  std::string result;
  for (int64_t i = count_ - 1; i >= std::max({count, count_ - kept, int64_t(0)}); --i) {
    const Entry& entry = entries_[size_t(i % kept)];
    if (!result.empty()) result += ", ";
    result += entry.graph ? *entry.graph : std::string(entry.kernel.data(), entry.length);
  }
  return count_ - kept > count ? result + ", ..." : result;
}

int64_t LaunchLog::count() const {
  const std::lock_guard lock(mutex_);
  return count_;
}

}  // namespace cermet::runtime::cuda

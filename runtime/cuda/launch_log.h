#pragma once
// The last launches on a card, for error messages: a kernel that goes wrong is reported by some
// later call, so the report names what ran before.

#include <array>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

namespace cermet::runtime::cuda {

// How many threads run a kernel.
struct LaunchShape {
  std::array<int64_t, 3> grid{1, 1, 1};   // blocks; with a 0 among them nothing runs
  std::array<int64_t, 3> block{1, 1, 1};  // threads of one block
  int64_t shared_bytes = 0;               // beside what the kernel declares
};

// "scale<<<(12,1,1), (256,1,1), 1024>>>"
std::string to_string(std::string_view kernel, const LaunchShape& shape);

// Thread-safe.
class LaunchLog {
 public:
  void add(std::string_view kernel, const LaunchShape& shape);
  // A graph, by what it holds.
  void add(std::shared_ptr<const std::string> graph);
  // The launches, the last one first; empty if there was none.
  std::string text() const;
  int64_t count() const;
  // The kernels of the launches that came after so many, the last one first, as far as they are
  // remembered.
  std::string kernels_since(int64_t count) const;

 private:
  struct Entry {
    std::array<char, 64> kernel;  // as much of its name as fits: nothing is allocated for a launch
    uint8_t length = 0;
    LaunchShape shape;
    std::shared_ptr<const std::string> graph;
  };
  static constexpr int64_t kept = 12;

  mutable std::mutex mutex_;  // guards what follows
  std::array<Entry, kept> entries_;
  int64_t count_ = 0;
};

}  // namespace cermet::runtime::cuda

#include "runtime/sort.h"

#include <algorithm>
#include <numeric>

namespace cermet::runtime {

void sort_rows(const compiler::Program::Launch& launch, const compiler::Program& program,
               std::span<void* const> memory, ThreadPool& threads) {
  const size_t from = size_t(launch.kernel.buffers[0]), to = size_t(launch.kernel.buffers[1]);
  auto* positions = static_cast<int64_t*>(memory[to]);
  visit(program.buffers[from].dtype, [&]<class T>(T) {
    const auto* elements = static_cast<const T*>(memory[from]);
    const auto less = [](T a, T b) {
      if constexpr (std::is_integral_v<T>) return a < b;
      const auto x = static_cast<std::conditional_t<std::is_same_v<T, double>, double, float>>(a);
      const decltype(x) y = b;
      return x < y || (y != y && x == x);  // NaN is the greatest
    };
    threads.parallel_for(launch.rows, [&](int64_t row, int) {
      const T* x = elements + row * launch.columns;
      int64_t* order = positions + row * launch.columns;
      std::iota(order, order + launch.columns, int64_t(0));
      std::stable_sort(order, order + launch.columns, [&](int64_t a, int64_t b) {
        return launch.descending ? less(x[b], x[a]) : less(x[a], x[b]);
      });
    });
  });
}

}  // namespace cermet::runtime

#include "runtime/task_split.h"

#include <algorithm>
#include <cmath>

namespace cermet::runtime {

TaskSplit split_tasks(std::span<const compiler::LoweredKernel* const> kernels, int64_t most) {
  double total = 0;  // in grains
  for (const compiler::LoweredKernel* k : kernels) total += double(k->range) / double(k->grain);
  const double size = std::max(1.0, total / double(most));
  TaskSplit out;
  double filled = 0;
  for (size_t i = 0; i < kernels.size(); ++i) {
    const int64_t grain = kernels[i]->grain, range = kernels[i]->range;
    for (int64_t begin = 0; begin < range;) {
      const auto grains = std::max<int64_t>(1, std::llround(size - filled));
      const int64_t end = range - begin > grains * grain ? begin + grains * grain : range;
      out.parts.push_back({int32_t(i), begin, end});
      filled += double(end - begin) / double(grain);
      begin = end;
      if (filled < size) continue;
      out.ends.push_back(int32_t(out.parts.size()));
      filled = 0;
    }
  }
  if (filled > 0) out.ends.push_back(int32_t(out.parts.size()));
  return out;
}

}  // namespace cermet::runtime

#include "cermet/explain.h"

#include <fmt/format.h>

#include "runtime/engine.h"

namespace cermet {

Statistics statistics() {
  const runtime::EngineStats s = runtime::default_engine().stats();
  const runtime::AllocatorStats m = runtime::default_engine().allocator().stats();
  return {s.realizes,  s.launches, s.plan_hits,  s.plan_misses,  s.kernel_hits,
          s.disk_hits, s.compiles, m.live_bytes, m.cached_bytes, m.peak_bytes};
}
void reset_statistics() { runtime::default_engine().reset_stats(); }

std::vector<Compile> compiles() {
  std::vector<Compile> out;
  for (const runtime::CompileRecord& r : runtime::default_engine().compiles())
    out.push_back({r.kernel, r.reason, r.milliseconds});
  return out;
}

std::string explain() {
  const Statistics s = statistics();
  std::string out = fmt::format(
      "{} realizes, {} launches; programs: {} known, {} new; kernels: {} known, {} from disk, {} "
      "compiled\n",
      s.realizes, s.launches, s.plan_hits, s.plan_misses, s.kernel_hits, s.disk_hits, s.compiles);
  for (const Compile& c : compiles())
    out += fmt::format("{:8.2f} ms  {}: {}\n", c.milliseconds, c.kernel, c.reason);
  return out;
}

}  // namespace cermet

#include "cermet/explain.h"

#include <fmt/format.h>

#include "runtime/engine.h"
#include "runtime/gpu_engine.h"

namespace cermet {

Statistics statistics() {
  Statistics out;
  const auto add = [&](const runtime::EngineStats& s, const auto& memory) {
    out.realizes += s.realizes, out.launches += s.launches;
    out.plan_hits += s.plan_hits, out.plan_misses += s.plan_misses;
    out.kernel_hits += s.kernel_hits, out.disk_hits += s.disk_hits, out.compiles += s.compiles;
    out.live_bytes += memory.live_bytes, out.cached_bytes += memory.cached_bytes;
    out.peak_bytes += memory.peak_bytes;
  };
  add(runtime::default_engine().stats(), runtime::default_engine().allocator().stats());
  for (runtime::GpuEngine* gpu : runtime::gpu_engines())
    add(gpu->stats(), gpu->device().memory().stats());
  return out;
}
void reset_statistics() {
  runtime::default_engine().reset_stats();
  runtime::default_engine().allocator().reset_peak();
  for (runtime::GpuEngine* gpu : runtime::gpu_engines()) {
    gpu->reset_stats();
    gpu->device().memory().reset_peak();
  }
}

std::vector<Compile> compiles() {
  std::vector<Compile> out;
  const auto add = [&](const std::vector<runtime::CompileRecord>& records) {
    for (const runtime::CompileRecord& r : records)
      out.push_back({r.kernel, r.reason, r.milliseconds});
  };
  add(runtime::default_engine().compiles());
  for (runtime::GpuEngine* gpu : runtime::gpu_engines()) add(gpu->compiles());
  return out;
}

std::string explain() {
  const Statistics s = statistics();
  std::string out = fmt::format(
      "{} realizes, {} launches; programs: {} known, {} new; kernels: {} known, {} from disk, {} "
      "compiled\n",
      s.realizes, s.launches, s.plan_hits, s.plan_misses, s.kernel_hits, s.disk_hits, s.compiles);
  if (const runtime::DiskCache& disk = runtime::default_engine().disk_cache(); !disk.enabled()) {
    std::string off;  // if the environment named no directory
    runtime::DiskCache::default_directory(&off);
    out += fmt::format("no kernels are kept on disk: {}\n",
                       off.empty() ? disk.disabled_reason() : off);
  }
  for (const Compile& c : compiles())
    out += fmt::format("{:8.2f} ms  {}: {}\n", c.milliseconds, c.kernel, c.reason);
  return out;
}

}  // namespace cermet

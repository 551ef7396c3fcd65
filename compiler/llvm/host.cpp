#include "compiler/llvm/host.h"

#include <fmt/format.h>
#include <llvm/ADT/StringMap.h>
#include <llvm/TargetParser/Host.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <vector>

#include "cermet/error.h"

namespace cermet::compiler::llvm_backend {
namespace {

// What the C library read from the processor; `otherwise` where a virtual machine hides it.
int64_t cache_bytes(int name, int64_t otherwise) {
  const long bytes = sysconf(name);
  return bytes > 0 ? int64_t(bytes) : otherwise;
}

}  // namespace

Target host_target() {
  const llvm::StringMap<bool> found = llvm::sys::getHostCPUFeatures();
  const auto has = [&](std::initializer_list<const char*> names) {
    return std::ranges::all_of(names, [&](const char* name) { return found.lookup(name); });
  };
  if (!has({"sse4.2", "popcnt"}))
    throw DeviceError("this processor lacks SSE4.2, which is the least that is supported");
  Target target;
  target.cpu = llvm::sys::getHostCPUName().str();
  // Named in full, because virtual machines hide some of what the processor's name promises.
  // Sorted: the string is part of cache keys.
  std::vector<std::string> features;
  for (const auto& feature : found)
    features.push_back((feature.second ? "+" : "-") + feature.first().str());
  std::ranges::sort(features);
  for (const std::string& feature : features)
    target.features += (target.features.empty() ? "" : ",") + feature;
  target.masked_memory = has({"avx512f", "avx512bw", "avx512dq", "avx512vl", "bmi2"});
  target.fma = has({"avx2", "fma"});
  target.f16_conversion = has({"f16c"});
  target.vector_bytes = target.masked_memory ? 64 : target.fma ? 32 : 16;
  target.l1_bytes = cache_bytes(_SC_LEVEL1_DCACHE_SIZE, target.l1_bytes);
  target.l2_bytes = cache_bytes(_SC_LEVEL2_CACHE_SIZE, target.l2_bytes);
  target.l3_bytes = cache_bytes(_SC_LEVEL3_CACHE_SIZE, target.l3_bytes);
  return target;
}

}  // namespace cermet::compiler::llvm_backend

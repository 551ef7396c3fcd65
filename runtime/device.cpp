#include "cermet/device.h"

#include <fmt/format.h>

#include <charconv>

#include "runtime/cuda/device.h"
#include "runtime/gpu_engine.h"
#include "runtime/open_runs.h"
#include "runtime/tensor_state.h"

namespace cermet {

Device Device::parse(std::string_view text, SourceLocation where) {
  if (text == "cpu") return {};
  if (text == "cuda") return {Kind::Cuda, 0};
  if (text.starts_with("cuda:")) {
    int index = -1;
    const char* end = text.data() + text.size();
    const auto [at, error] = std::from_chars(text.data() + 5, end, index);
    if (error == std::errc() && at == end && index >= 0) return {Kind::Cuda, index};
  }
  throw Error(fmt::format("device: '{}' is neither cpu nor cuda nor cuda:N", text), where);
}

std::string to_string(const Device& device) {
  return device.kind == Device::Kind::Cpu ? "cpu" : fmt::format("cuda:{}", device.index);
}

void cuda::synchronize(const Device& device, SourceLocation where) {
  if (device.kind == Device::Kind::Cpu) return;
  runtime::located(where, [&] {
    runtime::cuda::Device& there = runtime::gpu_engine(device.index).device();
    runtime::settle_runs(runtime::Settle::All, 1 + device.index);
    there.synchronize();
  });
}

bool cuda::is_available() { return runtime::cuda::available_devices() > 0; }

}  // namespace cermet

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

namespace {

// The GPU that a function of streams is called for.
runtime::cuda::Device& gpu_of(const Device& device) {
  if (device.kind == Device::Kind::Cpu) throw Error("the CPU has no streams");
  return runtime::gpu_engine(device.index).device();
}

// The caller may destroy the stream when the last of these is gone.
std::shared_ptr<const runtime::cuda::Stream> borrowed(void* stream, const Device& device) {
  using runtime::cuda::Stream;
  auto found = std::make_unique<const Stream>(
      Stream::borrow(gpu_of(device).card(), static_cast<CUstream_st*>(stream)));
  return {found.release(), [](const Stream* s) {
            s->retire();
            delete s;
          }};
}

}  // namespace

void cuda::set_stream(void* stream, const Device& device, SourceLocation where) {
  runtime::called("set_stream", where,
                  [&] { gpu_of(device).use_stream(borrowed(stream, device)); });
}

void cuda::reset_stream(const Device& device, SourceLocation where) {
  runtime::called("reset_stream", where, [&] { gpu_of(device).use_stream(nullptr); });
}

void* cuda::current_stream(const Device& device, SourceLocation where) {
  return runtime::called("current_stream", where,
                         [&]() -> void* { return gpu_of(device).stream().handle(); });
}

cuda::StreamGuard::StreamGuard(void* stream, const Device& device, SourceLocation where)
    : index_(device.index) {
  runtime::called("StreamGuard", where,
                  [&] { before_ = gpu_of(device).use_stream(borrowed(stream, device)); });
}

cuda::StreamGuard::~StreamGuard() {
  runtime::gpu_engine(index_).device().use_stream(std::move(before_));
}

void cuda::set_context(void* context, const Device& device, SourceLocation where) {
  runtime::called("set_context", where, [&] {
    if (device.kind == Device::Kind::Cpu) throw Error("the CPU has no contexts");
    runtime::use_gpu_context(device.index, static_cast<CUctx_st*>(context));
  });
}

bool cuda::is_available() { return runtime::cuda::available_devices() > 0; }

}  // namespace cermet

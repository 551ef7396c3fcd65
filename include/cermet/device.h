#pragma once
// Where tensors live, and by what streams of which context a GPU is used.

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "cermet/error.h"

namespace cermet {

namespace runtime::cuda {
class Stream;
}

struct Device {
  enum class Kind : uint8_t { Cpu, Cuda };
  Kind kind = Kind::Cpu;
  int index = 0;

  // "cpu", "cuda" or "cuda:1". Throws Error for other texts.
  static Device parse(std::string_view text, SourceLocation where = SourceLocation::current());
  friend bool operator==(const Device&, const Device&) = default;
};

std::string to_string(const Device& device);  // "cpu", "cuda:0"

namespace cuda {
inline constexpr Device first_gpu = {Device::Kind::Cuda, 0};

// Whether tensors can be moved to an NVIDIA GPU.
bool is_available();

// Waits until a GPU is done with everything that it was given, on all streams; does nothing for the
// CPU. Throws Error for an index out of range in what this thread realized there (see
// cermet/tensor.h), if that was not thrown yet; DeviceError if there is no such GPU or something on
// it failed. Who wants to wait for one stream only asks the driver to.
void synchronize(const Device& device = first_gpu,
                 SourceLocation where = SourceLocation::current());

// --- streams, for programs that use a GPU by other means as well
//
// realize() and copies give their work to the current stream of their GPU, which each thread
// chooses for itself. At first that is one of the library's own. It does not wait for the legacy
// default stream, so a program that gives work to other streams makes its own stream current, as in
// PyTorch:
//
//   cermet::cuda::StreamGuard guard(at::cuda::getCurrentCUDAStream().stream());
//   Tensor x = from_blob(a.data_ptr(), {n}, DType::F32, cuda::first_gpu);  // written on that
//   stream use_on_the_stream((x * 2).data_ptr());                           // no wait in between
//
// What the library did is ordered whatever the streams: work that reads a tensor waits, on the GPU,
// for the stream that computed it, and memory that is freed is used again after all streams that
// used it. What the caller's own work does with memory from from_blob() and data_ptr() is ordered
// with the library's if it is on the stream that is current in that call, or in the realize() that
// uses it.
//
// A stream is a CUstream or a cudaStream_t, which are the same; null is the legacy default stream.
// It must live until another one is current; work in it may go on after that. It must not be
// captured while something is realized: Error. The library records graphs of its own for programs
// that come again.

// Makes a stream current in this thread. Throws Error if it is no stream of that GPU and of the
// context that the library uses there.
void set_stream(void* stream, const Device& device = first_gpu,
                SourceLocation where = SourceLocation::current());
// Makes the library's own stream current again.
void reset_stream(const Device& device = first_gpu,
                  SourceLocation where = SourceLocation::current());
// The current one, to give work to it or to make others wait for it.
void* current_stream(const Device& device = first_gpu,
                     SourceLocation where = SourceLocation::current());

// A stream is current in this thread until the guard's end, then again the one of before.
class StreamGuard {
 public:
  explicit StreamGuard(void* stream, const Device& device = first_gpu,
                       SourceLocation where = SourceLocation::current());
  ~StreamGuard();
  StreamGuard(const StreamGuard&) = delete;
  StreamGuard& operator=(const StreamGuard&) = delete;

 private:
  const int index_;
  std::shared_ptr<const runtime::cuda::Stream> before_;
};

// A GPU is used in its primary context, which the CUDA runtime and PyTorch use as well. A program
// with a CUcontext of its own names it before anything else is done with that GPU; it must outlive
// all use of it. The context that is current in a thread makes no difference and stays as it is.
// Throws Error if the GPU is in use already in another context, or the context is not of that GPU.
void set_context(void* context, const Device& device = first_gpu,
                 SourceLocation where = SourceLocation::current());
}  // namespace cuda

}  // namespace cermet

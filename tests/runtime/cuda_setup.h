#pragma once
// What the tests of the CUDA runtime share: a device, arrays on it, kernels.

#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "cermet/error.h"
#include "runtime/cuda/device.h"
#include "runtime/fake_driver.h"
#include "support/message.h"
#include "support/ptx_kernels.h"

namespace cermet::test {

namespace cuda = cermet::runtime::cuda;

template <class T>
std::span<const std::byte> bytes_of(const std::vector<T>& values) {
  return std::as_bytes(std::span(values));
}

inline std::vector<float> counting(int64_t count, float from = 0) {
  std::vector<float> values(static_cast<size_t>(count));
  for (size_t i = 0; i < values.size(); ++i) values[i] = from + float(i);
  return values;
}

// A device with arrays and the kernels of ptx_kernels.h.
struct CudaSetup {
  explicit CudaSetup(const cuda::Driver& driver, const cuda::DeviceOptions& options = {})
      : device(driver, 0, options), module(cuda::Module::load(device.card(), ptx_kernels)) {}

  template <class T>
  cuda::DeviceBuffer array(const std::vector<T>& values) {
    cuda::DeviceBuffer buffer = device.allocate(values.size() * sizeof(T));
    device.copy_to_device(buffer.address(), bytes_of(values));
    return buffer;
  }
  template <class T = float>
  std::vector<T> values(const cuda::DeviceBuffer& buffer) {
    std::vector<T> result(buffer.bytes() / sizeof(T));
    device.copy_to_host(std::as_writable_bytes(std::span(result)), buffer.address());
    return result;
  }
  static cuda::LaunchShape shape(int64_t count) {
    return {{(count + 127) / 128, 1, 1}, {128, 1, 1}};
  }

  void scale(const cuda::DeviceBuffer& y, const cuda::DeviceBuffer& x, float a,
             const cuda::Stream& stream) {
    const auto count = int(y.bytes() / sizeof(float));
    module.function("scale").launch(
        stream, shape(count),
        cuda::Arguments().add(y.address()).add(x.address()).add(a).add(count).bytes());
  }
  void scale(const cuda::DeviceBuffer& y, const cuda::DeviceBuffer& x, float a) {
    scale(y, x, a, device.stream());
  }
  void add_to(const cuda::DeviceBuffer& y, const cuda::DeviceBuffer& x,
              const cuda::Stream& stream) {
    const auto count = int(y.bytes() / sizeof(float));
    module.function("add_to").launch(
        stream, shape(count),
        cuda::Arguments().add(y.address()).add(x.address()).add(count).bytes());
  }
  // A store to an address that belongs to nobody.
  void poke_nowhere() {
    module.function("poke").launch(device.stream(), {},
                                   cuda::Arguments()
                                       .add(cuda::Address(0x1234567000))
                                       .add(static_cast<unsigned char>(1))
                                       .bytes());
  }

  cuda::Device device;
  cuda::Module module;
};

}  // namespace cermet::test

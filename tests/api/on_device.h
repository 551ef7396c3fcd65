#pragma once
// The device that tests of the API run on, the CPU, or a GPU if on_gpu() (support/gpu.h), and the
// functions that create tensors there.

#include <vector>

#include "cermet/cermet.h"
#include "support/cuda.h"

namespace cermet::test {

inline const Device& device() {
  static const Device chosen = [] {
    if (!on_gpu()) return Device();
    use_gpu_or_skip_all();
    return Device{Device::Kind::Cuda, 0};
  }();
  return chosen;
}

namespace on_device {

inline Options there(Options options) {
  options.device = device();
  return options;
}

inline Tensor tensor(std::initializer_list<NestedList> list, const Options& options = {}) {
  return cermet::tensor(list, there(options));
}
inline Tensor tensor(const std::vector<double>& elements, const Shape& shape) {
  return cermet::tensor(elements, shape).to(device());
}
inline Tensor zeros(const Shape& shape, const Options& options = {}) {
  return cermet::zeros(shape, there(options));
}
inline Tensor ones(const Shape& shape, const Options& options = {}) {
  return cermet::ones(shape, there(options));
}
inline Tensor full(const Shape& shape, const Scalar& value, const Options& options = {}) {
  return cermet::full(shape, value, there(options));
}
inline Tensor arange(const Scalar& end, const Options& options = {}) {
  return cermet::arange(end, there(options));
}
inline Tensor rand(const Key& key, const Shape& shape, const Options& options = {}) {
  return cermet::rand(key, shape, there(options));
}
inline Tensor randn(const Shape& shape, const Options& options = {}) {
  return cermet::randn(shape, there(options));
}

}  // namespace on_device
}  // namespace cermet::test

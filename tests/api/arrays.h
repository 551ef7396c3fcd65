#pragma once
// Between tensors and the host arrays that golden files and comparisons use.

#include <cstring>

#include "cermet/cermet.h"
#include "ir/host_array.h"

namespace cermet::test {

inline Tensor tensor_of(const ir::HostArray& a) {
  return tensor(std::span<const std::byte>(a.bytes), a.dtype, a.shape);
}

inline ir::HostArray array_of(const Tensor& t) {
  ir::HostArray out(t.dtype(), t.shape());
  visit(t.dtype(), [&]<class T>(T) {
    const std::vector<T> elements = t.to_vector<T>();
    for (size_t i = 0; i < elements.size(); ++i) {
      const T element = elements[i];
      std::memcpy(out.bytes.data() + i * sizeof(T), &element, sizeof(T));
    }
  });
  return out;
}

}  // namespace cermet::test

#pragma once
// Handles are numbers, never reused, and not addresses: what was destroyed, belongs to another kind
// or was never created is recognised for certain, and nothing is dereferenced to find out.

#include <cstdint>
#include <map>
#include <memory>
#include <utility>

#include "fakecuda/failure.h"

namespace cermet::fakecuda {

// Objects of type T by the handle type H of the API. Each kind counts in a range of its own.
template <class T, class H>
class Handles {
 public:
  explicit Handles(uint64_t kind) : kind_(kind) {}

  H add(std::shared_ptr<T> object) {
    const uint64_t number = (kind_ << 40) + 16 * ++last_number();
    objects_.emplace(number, std::move(object));
    return reinterpret_cast<H>(number);
  }

  std::shared_ptr<T> find(H handle) const {
    const auto found = objects_.find(reinterpret_cast<uint64_t>(handle));
    return found == objects_.end() ? nullptr : found->second;
  }

  // The object, or `error` if the handle names none.
  std::shared_ptr<T> get(H handle, CUresult error = CUDA_ERROR_INVALID_HANDLE) const {
    std::shared_ptr<T> object = find(handle);
    if (!object) fail(error);
    return object;
  }

  void remove(H handle) { objects_.erase(reinterpret_cast<uint64_t>(handle)); }
  uint64_t count() const { return objects_.size(); }

  template <class Function>
  void each(Function function) const {
    for (const auto& [number, object] : objects_) function(*object);
  }

 private:
  // Over all drivers of the process, so that a handle from before a reset stays invalid.
  static uint64_t& last_number() {
    static uint64_t number = 0;
    return number;
  }

  uint64_t kind_;
  std::map<uint64_t, std::shared_ptr<T>> objects_;
};

}  // namespace cermet::fakecuda

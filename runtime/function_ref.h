#pragma once
// A reference to something callable: two words, no allocation, valid only while the callable lives.
// It is the parameter type of functions that call their argument before they return (parallel_for),
// where std::function would copy captures to the heap on every call.

#include <memory>
#include <type_traits>
#include <utility>

namespace cermet::runtime {

template <class Signature>
class FunctionRef;

template <class R, class... Args>
class FunctionRef<R(Args...)> {
 public:
  template <class F>
    requires(!std::is_same_v<std::remove_cvref_t<F>, FunctionRef> &&
             std::is_object_v<std::remove_reference_t<F>> && std::is_invocable_r_v<R, F&, Args...>)
  FunctionRef(F&& f)
      : callee_(const_cast<void*>(static_cast<const void*>(std::addressof(f)))),
        call_([](void* callee, Args... args) -> R {
          return (*static_cast<std::remove_reference_t<F>*>(callee))(std::forward<Args>(args)...);
        }) {}

  R operator()(Args... args) const { return call_(callee_, std::forward<Args>(args)...); }

 private:
  void* callee_;
  R (*call_)(void*, Args...);
};

}  // namespace cermet::runtime

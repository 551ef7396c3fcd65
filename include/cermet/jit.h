#pragma once
// Steps: a function of tensors that is recorded once and run many times.
//
//   auto step = cermet::jit([&](const Tensor& x, const Tensor& y) { ... return loss; });
//   Tensor loss = step(x, y);
//
// The first call with arguments of some shapes, dtypes and devices calls the function, which
// records an expression; every call, the first included, runs it as one program. Later calls with
// arguments alike run the program on their elements without calling the function: nothing is
// recorded, hashed or looked at. Arguments of other shapes are recorded as well; a step keeps the
// last `most_programs` programs.
//
// What the function sees of the world when it is recorded stays:
//   - Tensors it captures are read anew by each call, and in-place updates of them (an optimiser's)
//     are carried out by each call. They are kept alive.
//   - Keys of next_key(), and functions that take one, are new in each call.
//   - Numbers, branches and everything else of C++ are as they were: give what changes as a tensor.
//
// On a CPU a captured tensor that the function updates is written over where it lies, if nothing
// else needs the old elements; other threads that read it meanwhile wait. Arguments can be given up
// for the same (JAX's donate_argnums):
//
//   auto decay = ct::jit([](const Tensor& state, const Tensor& x) { return state * 0.9 + x; },
//                        {.donate = {0}});
//   state = decay(state, x);   // in one place
//
// After a call that succeeds reading a tensor that was donated, or a view of it, is an Error that
// names the call. Expressions of it that were recorded before and are computed later have the old
// elements. A tensor cannot be donated if it is given or captured a second time, if it is a view of
// part of a tensor, or if its memory can be seen from outside (data(), from_blob). Steps inside of
// a step donate nothing.
//
// Results are computed and have no gradient history. Inside of the function nothing is computed: an
// Error for item(), printing, realize() and masks as indices, and for elements that would go to
// another device, unless they are numbers that the function itself writes down. So is for an
// argument that requires grad (capture it), an argument that is written to, a tensor with gradient
// history from outside, and a gradient that backward() leaves in a captured leaf: clear it with
// set_grad(), or use grad(). A tensor that the function leaves in a variable outside cannot be
// used.

#include <array>
#include <concepts>
#include <functional>
#include <memory>
#include <span>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "cermet/tensor.h"

namespace cermet {

namespace runtime {

class StepPrograms;

// The half of a step that has no types: lists of tensors in, a list of tensors out.
class UntypedStep {
 public:
  using Function = std::function<std::vector<Tensor>(std::span<const std::vector<Tensor>>)>;
  // `donate`: which of so many arguments are donated. Throws Error if there is no such argument.
  UntypedStep(Function function, const std::vector<int>& donate, int arguments,
              const SourceLocation& where);
  std::vector<Tensor> run(std::span<const std::span<const Tensor>> arguments,
                          const SourceLocation& where) const;

 private:
  std::shared_ptr<StepPrograms> programs_;
};

}  // namespace runtime

// An argument of a step, and the place of the call.
class StepArgument {
 public:
  StepArgument(const Tensor& tensor, CERMET_HERE)  // NOLINT: implicit on purpose
      : tensors_(&tensor, 1), where_(where) {}
  StepArgument(const std::vector<Tensor>& tensors, CERMET_HERE)  // NOLINT
      : tensors_(tensors), where_(where) {}
  std::span<const Tensor> tensors() const { return tensors_; }
  const SourceLocation& where() const { return where_; }

 private:
  std::span<const Tensor> tensors_;
  SourceLocation where_;
};

template <class T>
concept StepList = std::same_as<T, Tensor> || std::same_as<T, std::vector<Tensor>>;

struct JitOptions {
  std::vector<int> donate = {};  // arguments that are given up, counted from 0; lists as a whole
};

// What jit() makes of a function of Tensors and vectors of Tensors that returns nothing, a Tensor,
// a vector or a tuple of Tensors. Copies share what was recorded. May be called by several threads.
template <class Result, class... Arguments>
  requires(StepList<std::remove_cvref_t<Arguments>> && ...)
class Step {
 public:
  // Throws Error if there is no argument of a number in `options`.
  explicit Step(std::function<Result(Arguments...)> function, const JitOptions& options = {},
                CERMET_HERE)
      : step_(
            [function = std::move(function)](std::span<const std::vector<Tensor>> lists) {
              return call(function, lists, std::index_sequence_for<Arguments...>());
            },
            options.donate, int(sizeof...(Arguments)), where) {}

  // Throws what the function throws, Error for what cannot be recorded (see above), and what
  // realize() throws.
  Result operator()(CERMET_HERE) const
    requires(sizeof...(Arguments) == 0)
  {
    return unpacked(step_.run({}, where));
  }
  Result operator()(std::conditional_t<true, StepArgument, Arguments>... arguments) const
    requires(sizeof...(Arguments) > 0)
  {
    const std::array lists{arguments.tensors()...};
    return unpacked(step_.run(lists, std::array{arguments.where()...}[0]));
  }

 private:
  template <size_t... I>
  static std::vector<Tensor> call(const std::function<Result(Arguments...)>& function,
                                  std::span<const std::vector<Tensor>> lists,
                                  std::index_sequence<I...>) {
    if constexpr (std::is_void_v<Result>) {
      function(argument<std::remove_cvref_t<Arguments>>(lists[I])...);
      return {};
    } else {
      return packed(function(argument<std::remove_cvref_t<Arguments>>(lists[I])...));
    }
  }
  template <class T>
  static const T& argument(const std::vector<Tensor>& list) {
    if constexpr (std::is_same_v<T, Tensor>)
      return list[0];
    else
      return list;
  }
  template <class R>
  static std::vector<Tensor> packed(R result) {
    if constexpr (std::is_same_v<R, Tensor>)
      return {std::move(result)};
    else if constexpr (std::is_same_v<R, std::vector<Tensor>>)
      return result;
    else
      return std::apply([](auto&&... parts) { return std::vector<Tensor>{parts...}; }, result);
  }
  static Result unpacked(std::vector<Tensor> list) {
    if constexpr (std::is_void_v<Result>)
      return;
    else if constexpr (std::is_same_v<Result, Tensor>)
      return std::move(list[0]);
    else if constexpr (std::is_same_v<Result, std::vector<Tensor>>)
      return list;
    else
      return [&]<size_t... I>(std::index_sequence<I...>) {
        return Result{std::move(list[I])...};
      }(std::make_index_sequence<std::tuple_size_v<Result>>());
  }

  runtime::UntypedStep step_;
};

template <class Result, class... Arguments>
Step(std::function<Result(Arguments...)>) -> Step<Result, Arguments...>;
template <class Result, class... Arguments>
Step(std::function<Result(Arguments...)>, const JitOptions&, const SourceLocation&)
    -> Step<Result, Arguments...>;

template <class F>
auto jit(F function, const JitOptions& options = {}, CERMET_HERE) {
  return Step(std::function(std::move(function)), options, where);
}

}  // namespace cermet

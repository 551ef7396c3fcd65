#include "ir/eval.h"

#include <array>
#include <cstring>
#include <type_traits>

#include "ir/check.h"
#include "ir/word.h"

namespace cermet::ir {
namespace {

using Loop = void(DType dtype, const void* const* operands, int64_t count, void* results);

template <class F, class... Args>
auto call(const F& f, DType dtype, Args... args) {
  if constexpr (requires { f(args..., dtype); })
    return f(args..., dtype);
  else
    return f(args...);
}

// A loop over words of type W. The results are of type W as well, or int64_t for bool.
template <class W, int arity, auto f>
void loop(DType dtype, const void* const* operands, int64_t count, void* results) {
  const auto x = [&]<class T>(int k, int64_t i, T) {
    return static_cast<const T*>(operands[k])[i];
  };
  const auto result = [&](int64_t i) {
    if constexpr (arity == 1)
      return call(f, dtype, x(0, i, W{}));
    else if constexpr (arity == 2)
      return call(f, dtype, x(0, i, W{}), x(1, i, W{}));
    else
      return call(f, dtype, x(0, i, int64_t{}) != 0, x(1, i, W{}), x(2, i, W{}));
  };
  using R = decltype(result(0));
  static_assert(std::is_same_v<R, W> || std::is_same_v<R, bool>);
  using Out = std::conditional_t<std::is_same_v<R, bool>, int64_t, W>;
  for (int64_t i = 0; i < count; ++i) static_cast<Out*>(results)[i] = Out(result(i));
}

// Whether ops with these operands accept some dtype whose words are of type W.
template <class W>
constexpr bool takes(Operands operands) {
  switch (operands) {
    case Operands::Any:
    case Operands::Number: return true;
    case Operands::Float: return std::is_same_v<W, double>;
    case Operands::Integer:
    case Operands::Bits: return !std::is_same_v<W, double>;
    case Operands::U64: return std::is_same_v<W, uint64_t>;
  }
  return false;
}

template <class W, Operands operands, int arity, auto f>
constexpr Loop* loop_or_null() {
  if constexpr (takes<W>(operands))
    return loop<W, arity, f>;
  else
    return nullptr;
}

struct Loops {
  Loop* real;
  Loop* integer;
  Loop* natural;
};

constexpr auto loops = std::to_array<Loops>({
#define OP(Enum, name, arity, operands, result, cycles, eval, grad, lower) \
  {loop_or_null<double, Operands::operands, arity, eval>(),                \
   loop_or_null<int64_t, Operands::operands, arity, eval>(),               \
   loop_or_null<uint64_t, Operands::operands, arity, eval>()},
#include "cermet/ops.def"
});
static_assert(loops.size() + structural_op_count == op_count);

}  // namespace

void eval_words(Op op, DType dtype, std::span<const void* const> operands, int64_t count,
                void* results) {
  CERMET_CHECK(is_elementwise(op), "{} has no element", name(op));
  CERMET_CHECK(accepts(info(op).operands, dtype) && operands.size() == size_t(info(op).arity),
               "{} of {} operands, {}", name(op), operands.size(), name(dtype));
  const Loops& row = loops[size_t(op) - structural_op_count];
  Loop* run = is_float(dtype) ? row.real : is_unsigned(dtype) ? row.natural : row.integer;
  run(dtype, operands.data(), count, results);
}

uint64_t eval_element(Op op, DType dtype, std::span<const uint64_t> operands) {
  CERMET_CHECK(operands.size() <= 3);
  alignas(word_size) std::byte element[word_size], words[3][word_size], result[word_size];
  const void* pointers[3] = {words[0], words[1], words[2]};
  for (size_t k = 0; k < operands.size(); ++k) {
    std::memcpy(element, &operands[k], word_size);
    unpack(op == Op::Where && k == 0 ? DType::Bool : dtype, element, 0, 1, words[k]);
  }
  eval_words(op, dtype, std::span(pointers, operands.size()), 1, result);
  std::memset(element, 0, word_size);
  pack(info(op).result == Result::Bool ? DType::Bool : dtype, result, 1, element, 0);
  uint64_t bits;
  std::memcpy(&bits, element, word_size);
  return bits;
}

}  // namespace cermet::ir

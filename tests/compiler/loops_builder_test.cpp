#include "compiler/loops_builder.h"

#include <array>

#include "cermet/error.h"
#include "compiler/loops_text.h"
#include "compiler/loops_verify.h"
#include "support/catch.h"

using cermet::DType;
using cermet::compiler::Target;
using cermet::compiler::loops::Builder;
using cermet::compiler::loops::Function;
using cermet::compiler::loops::print;
using cermet::compiler::loops::Ref;
using cermet::compiler::loops::verify_loops;

namespace {

template <class Write>
std::string text_of(const Write& write) {
  Function f;
  f.name = "kernel";
  Builder b(f, Target());
  write(b);
  CHECK(verify_loops(f) == std::vector<std::string>());
  return print(f);
}

}  // namespace

TEST_CASE("loops builder: equal pure instructions are one, loads are not") {
  Function f;
  f.name = "kernel";
  Builder b(f, Target());
  const int32_t buffer = b.add_buffer({.dtype = DType::F32, .index = 0});
  const Ref x = b.load(buffer, b.index(0)), y = b.load(buffer, b.index(0));
  CHECK(!(x == y));
  CHECK(b.mul(x, y) == b.mul(x, y));
  CHECK(!(b.mul(x, y) == b.mul(y, x)));
  CHECK(b.constant({}, DType::F32, 2.0) == b.constant({}, DType::F32, 2.0));
  CHECK(!(b.constant({}, DType::F32, 0.0) == b.constant({}, DType::F32, -0.0)));
  CHECK(!(b.constant({}, DType::F32, 2.0) == b.constant({}, DType::F64, 2.0)));
}

TEST_CASE("loops builder: what does not depend on a loop is placed before it") {
  const std::string text = text_of([](Builder& b) {
    const int32_t x = b.add_buffer({.dtype = DType::F32, .index = 0});
    const Ref rows = b.argument(0), zero = b.index(0);
    b.for_loop(zero, rows, 1, [&](Ref i) {
      b.for_loop(zero, b.argument(1), 4, [&](Ref j) {
        const Ref row = b.mul(i, b.argument(2));
        const Ref scale = b.cast(row, DType::F32);
        b.store(x, b.add(row, j), b.mul(scale, b.load(x, b.add(row, j), 4)));
      });
    });
  });
  CHECK(text == R"(loops 1
kernel arguments=3 {
  buffer f32 argument 0 written
  %0 = arg i64 0
  %1 = const i64 0
  %2 = arg i64 1
  %3 = arg i64 2
  %4 = for %1, %0 step=1 : %5 {
    %6 = mul i64 %5, %3
    %7 = convert f32 %6
    %8 = splat f32x4 %7
    %9 = for %1, %2 step=4 : %10 {
      %11 = add i64 %6, %10
      %12 = load f32x4 b0 %11
      %13 = mul f32x4 %8, %12
      store f32x4 b0 %11, %13
    }
  }
}
)");
}

TEST_CASE("loops builder: an instruction of a closed block is not taken for a new one") {
  const std::string text = text_of([](Builder& b) {
    const int32_t x = b.add_buffer({.dtype = DType::I64, .index = 0});
    const Ref count = b.argument(0), zero = b.index(0);
    for (int k = 0; k < 2; ++k)
      b.for_loop(zero, count, 1, [&](Ref i) { b.store(x, i, b.mul(i, i)); });
  });
  CHECK(text == R"(loops 1
kernel arguments=1 {
  buffer i64 argument 0 written
  %0 = arg i64 0
  %1 = const i64 0
  %2 = for %1, %0 step=1 : %3 {
    %4 = mul i64 %3, %3
    store i64 b0 %3, %4
  }
  %5 = for %1, %0 step=1 : %6 {
    %7 = mul i64 %6, %6
    store i64 b0 %6, %7
  }
}
)");
}

TEST_CASE("loops builder: positions fold") {
  Function f;
  f.name = "kernel";
  Builder b(f, Target());
  const Ref x = b.argument(0), zero = b.index(0), one = b.index(1);
  CHECK(b.known(b.add(b.index(3), b.index(4))) == 7);
  CHECK(b.known(b.sub(b.index(3), b.index(4))) == -1);
  CHECK(b.known(b.mul(b.index(3), b.index(-4))) == -12);
  CHECK(b.known(b.div(b.index(-7), b.index(2))) == -3);
  CHECK(b.known(b.rem(b.index(-7), b.index(2))) == -1);
  CHECK(b.known(b.min_index(b.index(3), b.index(4))) == 3);
  CHECK(b.known(b.max_index(b.index(3), b.index(4))) == 4);
  for (const Ref same : {b.add(x, zero), b.add(zero, x), b.sub(x, zero), b.mul(x, one),
                         b.mul(one, x), b.div(x, one)})
    CHECK(same == x);
  CHECK(b.known(b.mul(x, zero)) == 0);
  CHECK(b.known(b.rem(x, one)) == 0);
  CHECK(!b.known(b.div(b.index(1), zero)));
  CHECK(!b.known(x));
  // Not for floats, where 0 * x may be NaN.
  const Ref y = b.cast(x, DType::F32);
  CHECK(!(b.mul(y, b.constant({}, DType::F32, 0.0)) == b.constant({}, DType::F32, 0.0)));
}

TEST_CASE("loops builder: scalars beside vectors are splat, other mixtures are refused") {
  Function f;
  f.name = "kernel";
  Builder b(f, Target());
  const int32_t x = b.add_buffer({.dtype = DType::F32, .index = 0});
  const Ref v = b.load(x, b.index(0), 8), s = b.load(x, b.index(0));
  CHECK(b.lanes(b.add(v, s)) == 8);
  CHECK(b.lanes(b.select(b.lt(s, s), v, s)) == 8);
  CHECK(b.splat(s, 8) == b.splat(s, 8));
  CHECK_THROWS_AS(b.add(v, b.load(x, b.index(0), 4)), cermet::InternalError);
  CHECK_THROWS_AS(b.add(s, b.index(1)), cermet::InternalError);
  CHECK_THROWS_AS(b.bitcast(s, DType::F64), cermet::InternalError);
  CHECK_THROWS_AS(b.lt(s, b.index(1)), cermet::InternalError);
  const std::array<Ref, 1> initial = {s};
  CHECK_THROWS_AS(b.for_loop(b.index(0), b.index(4), 1, initial,
                             [&](Ref i, std::span<const Ref>) { return std::vector<Ref>{i}; }),
                  cermet::InternalError);
}

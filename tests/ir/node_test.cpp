#include "ir/node.h"

#include "cermet/error.h"
#include "ir/build.h"
#include "ir/graph.h"
#include "support/catch.h"
#include "support/repeats.h"

using namespace cermet;
using namespace cermet::ir;

TEST_CASE("node: equal expressions are one node") {
  Value x = parameter(0, DType::F32, {2, 3}), y = parameter(1, DType::F32, {3});
  CHECK(x + y == x + y);
  CHECK(x + y != y + x);
  CHECK(x * 2.0 == x * 2.0);
  CHECK(like(x, 0.0) != like(x, -0.0));
  CHECK(transpose(transpose(x, 0, 1), 0, 1) == x);
}

TEST_CASE("node: nodes die with their last handle, without recursion") {
  const int64_t before = live_nodes();
  {
    Value x = parameter(0, DType::F32, {4});
    const int64_t length = test::repeats(1000000);
    for (int64_t i = 0; i < length; ++i) x = sin(x);
    CHECK(live_nodes() == before + length + 1);
    CHECK(int64_t(topological_order(std::span(&x, 1)).size()) == length + 1);
  }
  CHECK(live_nodes() == before);
}

TEST_CASE("node: constants keep their bits through views") {
  Value c = constant(DType::F32, {1}, 0.1);
  CHECK(expand(c, Shape{5, 5})->op == Op::Constant);
  CHECK(constant_value(*expand(c, Shape{5, 5})) == double(0.1f));
  CHECK(pad(c, 0, 1, 0)->op == Op::View);
}

TEST_CASE("node: errors name the op, the shapes and the dtypes") {
  Value a = parameter(0, DType::F32, {2, 3}), b = parameter(1, DType::F32, {4, 5});
  CHECK_THROWS_WITH(a + b, "add: shapes do not broadcast, f32[2,3] and f32[4,5]");
  CHECK_THROWS_WITH(matmul(a, b), "matmul: inner sizes differ, 3 and 4 (f32[2,3] x f32[4,5])");
  CHECK_THROWS_WITH(reshape(a, Shape{4, 2}), "reshape: [4,2] has 8 elements, f32[2,3] has 6");
  CHECK_THROWS_WITH(bitwise_not(a), "bitwise_not: not defined for f32");
  CHECK_THROWS_WITH(permute(a, Shape{0, 0}),
                    "permute: [0,0] is not an order of the axes of f32[2,3]");
  CHECK_THROWS_WITH(flip(a, 2), "flip: axis 2 is out of range for rank 2");
  CHECK_THROWS_WITH(parameter(0, DType::F32, {-1}), "parameter: negative size in shape [-1]");
  CHECK_THROWS_AS(parameter(0, DType::F32, {int64_t(1) << 40, int64_t(1) << 40}), Error);
}

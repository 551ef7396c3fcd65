#include "ir/verify.h"

#include "cermet/error.h"
#include "ir/build.h"
#include "ir/text.h"
#include "support/catch.h"

using namespace cermet;
using namespace cermet::ir;

namespace {

using Faults = std::vector<std::string>;

Value input(int64_t slot, const Shape& shape, DType dtype = DType::F32) {
  return parameter(slot, dtype, shape);
}

// A node as make() would never build it: whatever the test wants, outside of the intern table.
Value forge(Op op, SmallVector<Value, 3> operands, Attr attr, DType dtype, const Shape& shape) {
  auto* node = new Node;  // owned by the Value
  node->op = op;
  node->operands = std::move(operands);
  node->attr = std::move(attr);
  node->dtype = dtype;
  node->shape = shape;
  return Value(node);
}

Faults faults_of(const Value& result, std::vector<Value> parameters = {input(0, {2, 3})}) {
  return verify({std::move(parameters), {result}});
}

}  // namespace

TEST_CASE("verify: valid graphs have no faults") {
  const Value x = input(0, {2, 3});
  CHECK(verify({}).empty());
  CHECK(faults_of(sin(x) * 2.0).empty());
  CHECK_NOTHROW(check({{x}, {x}}));
}

TEST_CASE("verify: parameters have their slots, and all are listed") {
  const Value x = input(0, {2, 3}), y = input(1, {2, 3});
  CHECK(verify({{y, x}, {}}) == Faults{"%0 = parameter: has slot 1 in place 0 of the parameters",
                                       "%1 = parameter: has slot 0 in place 1 of the parameters"});
  CHECK(verify({{x}, {x + y}}) ==
        Faults{"%1 = parameter: is not among the parameters of the graph"});
  CHECK(verify({{sin(x)}, {}}) ==
        Faults{"%0 = sin: stands in place 0 of the parameters but is none"});
}

TEST_CASE("verify: nothing is empty") {
  CHECK(verify({{Value()}, {Value()}}) == Faults{"parameter 0 is empty", "result 0 is empty"});
  const Value x = input(0, {2, 3});
  CHECK(faults_of(forge(Op::Add, {x, Value()}, {}, DType::F32, {2, 3})) ==
        Faults{"%1 = add: operand 1 is empty"});
  // print shows what is wrong instead of failing.
  CHECK(print({{x}, {Value()}}).find("return %null") != std::string::npos);
}

TEST_CASE("verify: types are those that inference gives") {
  const Value x = input(0, {2, 3});
  CHECK(faults_of(forge(Op::Sin, {x}, {}, DType::F64, {2, 3})) ==
        Faults{"%1 = sin: is f64[2,3], its operands give f32[2,3]"});
  CHECK(faults_of(forge(Op::Sin, {x}, {}, DType::F32, {3})) ==
        Faults{"%1 = sin: is f32[3], its operands give f32[2,3]"});
  CHECK(faults_of(forge(Op::Add, {x}, {}, DType::F32, {2, 3})) ==
        Faults{"%1 = add: add: expects 2 operands, got 1"});
}

TEST_CASE("verify: attributes are those of the op, and in range") {
  const Value x = input(0, {2, 3});
  const auto forged = [&](Op op, Attr attr) {
    return faults_of(forge(op, {x}, std::move(attr), DType::F32, {2}));
  };
  CHECK(forged(Op::Reduce, {}) == Faults{"%1 = reduce: reduce: attributes are missing"});
  CHECK(forged(Op::Reduce, ReduceAttr{Combine::Sum, {2}}) ==
        Faults{"%1 = reduce: reduce: axes [2] are not ascending axes of f32[2,3]"});
  CHECK(forged(Op::View, ViewAttr{}) == Faults{"%1 = view: view: no map"});
  CHECK(forged(Op::View, ViewAttr{std::make_shared<const ViewMap>(SmallVector<StridedMap, 1>())}) ==
        Faults{"%1 = view: view: no levels (f32[2,3])"});
  StridedMap outside = StridedMap::contiguous(Shape{2});
  outside.offset = 5;
  CHECK(forged(Op::View, ViewAttr{std::make_shared<const ViewMap>(outside)}) ==
        Faults{"%1 = view: view: level 0 reads positions 5 to 6 of 6 (f32[2,3])"});
  StridedMap uneven = StridedMap::contiguous(Shape{2});
  uneven.strides = {3, 1};
  CHECK(forged(Op::View, ViewAttr{std::make_shared<const ViewMap>(uneven)}) ==
        Faults{"%1 = view: view: level 0 has 1 extents, 2 strides and 1 intervals (f32[2,3])"});
  CHECK(faults_of(forge(Op::Sin, {x}, AxisAttr{1}, DType::F32, {2, 3}))[0] ==
        "%1 = sin: carries attributes of another op");
  CHECK(faults_of(forge(Op::Leaf, {x}, LeafAttr{}, DType::F32, {2, 3})) ==
        Faults{"%1 = leaf: no variable"});
  CHECK(faults_of(forge(Op::CustomGradient, {x}, CustomGradientAttr{}, DType::F32, {2, 3})) ==
        Faults{"%1 = custom_gradient: no rule"});
  CHECK(faults_of(forge(Op::Data, {}, DataAttr{}, DType::F32, {2})) ==
        Faults{"%1 = data: no storage"});
}

TEST_CASE("verify: constants have the bits of their dtype") {
  const auto forged = [](DType dtype, uint64_t bits) {
    return faults_of(forge(Op::Constant, {}, ConstantAttr{bits}, dtype, {}));
  };
  CHECK(forged(DType::U8, 0x100) == Faults{"%1 = constant: bits 0x100 are none of u8"});
  CHECK(forged(DType::Bool, 2) == Faults{"%1 = constant: bits 0x2 are none of bool"});
  CHECK(faults_of(constant_bits(DType::U64, {}, ~uint64_t(0))).empty());
}

TEST_CASE("verify: a node beside the intern table is found") {
  const Value x = input(0, {2, 3});
  const Value twin = forge(Op::Sin, {x}, {}, DType::F32, {2, 3});
  CHECK(faults_of(twin) == Faults{"%1 = sin: is not the one node of its expression"});
}

TEST_CASE("verify: gradient marks follow from the operands") {
  const Value x = input(0, {2, 3});
  const Value v = leaf(x, std::make_shared<Variable>());
  const Faults faults = faults_of(forge(Op::Sin, {v}, {}, DType::F32, {2, 3}));
  REQUIRE(!faults.empty());
  CHECK(faults[0] == "%2 = sin: requires_grad is false, the operands say true");
}

TEST_CASE("verify: all faults are reported, and check throws them with the graph") {
  const Value x = input(0, {2, 3});
  const Value bad = forge(Op::Sin, {x}, {}, DType::F64, {2, 3});
  const Value worse = forge(Op::Neg, {bad}, {}, DType::F64, {7});
  const Graph g{{x}, {worse}};
  CHECK(verify(g).size() == 2);
  CHECK_THROWS_WITH(check(g),
                    "the graph is invalid:\n"
                    "%1 = sin: is f64[2,3], its operands give f32[2,3]\n"
                    "%2 = neg: is f64[7], its operands give f64[2,3]\n"
                    "cir 1\n"
                    "graph main(%0: f32[2,3]) {\n"
                    "  %1 = sin %0 : f64[2,3]\n"
                    "  %2 = neg %1 : f64[7]\n"
                    "  return %2\n"
                    "}\n");
  CHECK_THROWS_AS(check(g), InternalError);
}

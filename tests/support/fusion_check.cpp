#include "support/fusion_check.h"

#include <random>

#include "compiler/fuse.h"
#include "compiler/kernels_text.h"
#include "compiler/kernels_verify.h"
#include "ir/build.h"
#include "ir/element.h"
#include "ir/interpreter.h"
#include "support/catch.h"
#include "support/kernel_interpreter.h"

namespace cermet::test {

using ir::HostArray;

std::vector<HostArray> random_parameters(const ir::Graph& graph, uint64_t seed,
                                         std::span<const int64_t> ranges) {
  std::mt19937_64 random(seed);
  std::vector<HostArray> out;
  for (size_t p = 0; p < graph.parameters.size(); ++p) {
    const ir::Node& node = *graph.parameters[p];
    HostArray a(node.dtype, node.shape);
    const int64_t range = p < ranges.size() ? ranges[p] : 0;
    for (int64_t i = 0; i < a.numel(); ++i) {
      const double unit = double(random() >> 11) * 0x1p-53;
      double value = is_float(node.dtype) ? unit * 4 - 2 : std::floor(unit * 16) - 8;
      if (is_unsigned(node.dtype)) value = std::floor(unit * 16);
      if (is_bool(node.dtype)) value = unit < 0.5;
      if (range > 0) value = std::floor(unit * double(range));
      a.set_bits(i, ir::element_bits(node.dtype, value));
    }
    out.push_back(std::move(a));
  }
  return out;
}

compiler::KernelProgram check_fusion(const ir::Graph& graph, const Tolerance& tolerance,
                                     std::span<const int64_t> ranges) {
  return check_fusion(graph, random_parameters(graph, 17, ranges), tolerance);
}

compiler::KernelProgram check_fusion(const ir::Graph& graph, std::span<const HostArray> parameters,
                                     const Tolerance& tolerance) {
  const std::vector<HostArray> expected = ir::interpret(graph, parameters);
  compiler::KernelProgram program = compiler::fuse(graph, {});
  const std::string text = compiler::print_kernels(program);
  INFO(text);
  for (const std::string& error : compiler::verify_kernels(program)) FAIL_CHECK(error);
  CHECK(compiler::print_kernels(compiler::parse_kernels(text)) == text);
  std::vector<HostArray> got = interpret_kernels(program, parameters);
  for (const compiler::Refusal& r : program.refusals)
    UNSCOPED_INFO(r.producer << " not in " << r.consumer << ": " << r.reason);
  REQUIRE(got.size() == expected.size());
  for (size_t i = 0; i < got.size(); ++i) {
    REQUIRE(got[i].numel() == expected[i].numel());
    got[i].shape = expected[i].shape;
    const auto wrong = difference(got[i], expected[i], tolerance);
    INFO("result " << i << ": " << wrong.value_or(""));
    CHECK(!wrong);
  }
  return program;
}

ir::Graph graph_of(std::vector<ir::Value> results) {
  ir::Graph graph;
  std::vector<ir::Value> parameters;
  for (const ir::Node* node : ir::topological_order(results))
    if (node->op == ir::Op::Parameter) parameters.push_back(ir::Value(node));
  std::sort(parameters.begin(), parameters.end(), [](const ir::Value& a, const ir::Value& b) {
    return a->as<ir::ParameterAttr>().slot < b->as<ir::ParameterAttr>().slot;
  });
  for (const ir::Value& p : parameters) {
    const int64_t slot = p->as<ir::ParameterAttr>().slot;
    for (int64_t i = int64_t(graph.parameters.size()); i < slot; ++i)
      graph.parameters.push_back(ir::parameter(i, DType::F32, {}));
    graph.parameters.push_back(p);
  }
  graph.results = std::move(results);
  return graph;
}

}  // namespace cermet::test

#include "support/run_compiled.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <iterator>
#include <limits>
#include <map>
#include <memory>
#include <random>

#include "ir/build.h"
#include "ir/check.h"
#include "ir/element.h"
#include "ir/interpreter.h"
#include "ir/text.h"
#include "runtime/devices.h"
#include "runtime/gpu_engine.h"
#include "support/catch.h"
#include "support/cuda.h"
#include "support/machine_code.h"
#include "support/repeats.h"

namespace cermet::test {

using ir::HostArray;
using ir::Value;

const std::vector<std::string>& target_names() {
  static const std::vector<std::string> names = [] {
    if (on_gpu()) {
      use_gpu_or_skip_all();
      return std::vector<std::string>{"cuda"};
    }
    if (sanitized) return std::vector<std::string>{"host"};  // what is compiled is not looked at
    const int widest = compiler::target("host").vector_bytes;
    std::vector<std::string> out;
    for (const char* name : {"x86-64-v2", "x86-64-v3", "x86-64-v4"})
      if (compiler::target(name).vector_bytes <= widest) out.push_back(name);
    out.push_back("host");
    return out;
  }();
  return names;
}

namespace {
constexpr std::string_view tiny_caches = " with tiny caches";
}

const std::vector<std::string>& targets_with_tiny_caches() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> out;
    if (!on_gpu())
      for (const std::string& name : target_names()) out.push_back(name + std::string(tiny_caches));
    return out;
  }();
  return names;
}

runtime::Engine& engine_for(const std::string& target, int threads) {
  static std::map<std::pair<std::string, int>, std::unique_ptr<runtime::Engine>> engines;
  auto& engine = engines[{target, threads}];
  if (!engine) {
    runtime::EngineOptions options;
    options.threads = threads;
    options.tiny_caches = target.ends_with(tiny_caches);
    options.target = target.substr(0, target.find(' '));
    options.cache_directory.clear();
    options.allocator.guard_pages = true;
    engine = std::make_unique<runtime::Engine>(std::move(options));
  }
  return *engine;
}

namespace {

// Borrowed, so that no node remembers its value and the next target computes it again.
Value host_data(runtime::Engine& engine, const HostArray& array, bool borrowed = true) {
  const runtime::Buffer buffer = engine.allocator().allocate(array.dtype, array.shape);
  std::copy(array.bytes.begin(), array.bytes.end(), static_cast<std::byte*>(buffer.data()));
  return ir::data(std::make_shared<const runtime::BufferStorage>(buffer, borrowed), array.dtype,
                  array.shape);
}

std::vector<HostArray> arrays_of(const ir::Graph& graph,
                                 std::span<const std::shared_ptr<const ir::Storage>> storages) {
  std::vector<HostArray> out;
  for (size_t i = 0; i < storages.size(); ++i)
    out.emplace_back(graph.results[i]->dtype, graph.results[i]->shape, storages[i]->host_data());
  return out;
}

ir::Graph bound_to(const ir::Graph& graph, const std::vector<Value>& inputs) {
  return ir::rewrite(graph, [&](const ir::Node& node, std::span<const Value>) -> Value {
    if (node.op != ir::Op::Parameter) return {};
    return inputs[size_t(node.as<ir::ParameterAttr>().slot)];
  });
}

// One graph of sixteen also becomes machine code for one of the architectures, in those runs of the
// tests that compile kernels and do not find them (gpu.cmake).
void sample_machine_code(const ir::Graph& graph) {
  static const bool wanted = gpu_schedule() == "lazy";
  if (!wanted) return;
  const ir::Graph whole = graph_over(graph.results);
  const size_t hash = std::hash<std::string>()(ir::print(whole));
  if (hash % 16 != 0) return;
  const int compute = architectures[hash / 16 % std::size(architectures)];
  const auto program = compiler::compile(whole, compiler::cuda_target(compute));
  if (!kernels_of(program).empty()) check_machine_code(program, compute);
}

std::vector<HostArray> run_on_gpu(const ir::Graph& graph, std::span<const HostArray> parameters) {
  runtime::GpuEngine& engine = runtime::gpu_engine(0);
  std::vector<Value> inputs;
  for (const HostArray& array : parameters) {
    const Value host = host_data(engine_for("x86-64-v2"), array);
    inputs.push_back(ir::data(engine.upload(*host->as<ir::DataAttr>().storage, array.bytes.size()),
                              array.dtype, array.shape));
  }
  const auto storages = engine.realize(bound_to(graph, inputs).results);
  std::vector<HostArray> out;
  for (size_t i = 0; i < storages.size(); ++i) {
    out.emplace_back(graph.results[i]->dtype, graph.results[i]->shape);
    runtime::read_elements(*storages[i], out.back().bytes.size(), out.back().bytes.data());
  }
  expect_clean_gpu();
  sample_machine_code(graph);
  return out;
}

}  // namespace

std::vector<HostArray> run_compiled(runtime::Engine& engine, const ir::Graph& graph,
                                    std::span<const HostArray> parameters) {
  std::vector<Value> inputs;
  for (const HostArray& array : parameters) inputs.push_back(host_data(engine, array));
  return arrays_of(graph, engine.realize(bound_to(graph, inputs).results));
}

std::vector<HostArray> run_in_place(runtime::Engine& engine, const ir::Graph& graph,
                                    std::span<const HostArray> parameters, int* overwritten) {
  std::vector<Value> inputs;
  for (const HostArray& array : parameters) inputs.push_back(host_data(engine, array, false));
  const ir::Graph bound = bound_to(graph, inputs);
  const runtime::Request request = runtime::make_request(bound.results, {}, 0, inputs);
  runtime::Overwriting overwriting;
  overwriting.allowed.resize(request.inputs.size());
  for (const int64_t slot : request.donated) overwriting.allowed[size_t(slot)] = true;
  bool known = false;
  const auto plan = engine.plan_for(request, known);
  std::vector<std::shared_ptr<const ir::Storage>> storages(request.roots.size());
  engine.run(*plan, known, request.inputs, storages, &overwriting);
  for (const Value& input : inputs)
    for (const auto& result : storages)
      if (overwritten && input->as<ir::DataAttr>().storage->host_data() == result->host_data())
        ++*overwritten;
  return arrays_of(graph, storages);
}

std::vector<HostArray> run_on(const std::string& target, const ir::Graph& graph,
                              std::span<const HostArray> parameters) {
  return target == "cuda" ? run_on_gpu(graph, parameters)
                          : run_compiled(engine_for(target), graph, parameters);
}

void check_compiled(const ir::Graph& graph, std::span<const HostArray> parameters,
                    const Tolerance& tolerance, const std::vector<std::string>& targets) {
  const std::vector<HostArray> expected = ir::interpret(graph, parameters);
  for (const std::string& target : targets) {
    const std::vector<HostArray> got = run_on(target, graph, parameters);
    REQUIRE(got.size() == expected.size());
    for (size_t i = 0; i < got.size(); ++i) {
      const auto wrong = difference(got[i], expected[i], tolerance);
      if (!wrong) continue;
      const ir::Graph alone{graph.parameters, {graph.results[i]}};
      FAIL_CHECK("target " << target << ", result " << i << ": " << *wrong << "\n"
                           << ir::print(alone));
    }
  }
}

ir::Graph graph_over(std::vector<Value> results) {
  ir::Graph graph;
  for (const ir::Node* node : ir::topological_order(results)) {
    if (node->op != ir::Op::Parameter) continue;
    const size_t slot = size_t(node->as<ir::ParameterAttr>().slot);
    if (graph.parameters.size() <= slot) graph.parameters.resize(slot + 1);
    graph.parameters[slot] = Value(node);
  }
  for (size_t slot = 0; slot < graph.parameters.size(); ++slot)
    if (!graph.parameters[slot])
      graph.parameters[slot] = ir::parameter(int64_t(slot), DType::F32, {});
  graph.results = std::move(results);
  return graph;
}

HostArray edge_values(DType dtype, const Shape& shape, uint64_t seed) {
  std::mt19937_64 random(seed);
  constexpr double infinity = std::numeric_limits<double>::infinity();
  static const std::vector<double> special = {0.0, -0.0, 1.0, -1.0,     0.5,       -0.5,        1.5,
                                              2.5, -2.5, 3.0, infinity, -infinity, std::nan("")};
  HostArray out(dtype, shape);
  const uint64_t top = uint64_t(1) << (bits_of(dtype) - 1);
  const auto unit = [&] { return std::ldexp(double(random() >> 11), -52) - 1; };
  for (int64_t i = 0; i < out.numel(); ++i) {
    uint64_t bits = 0;
    const uint64_t kind = random() % 8;
    if (is_bool(dtype)) {
      bits = random() % 2;
    } else if (!is_float(dtype)) {
      const uint64_t edges[] = {0, 1, top, top - 1, top | (top - 1), top | 1};
      if (kind < 4)
        bits = ir::element_bits(dtype, int64_t(random() % 80) - (is_signed(dtype) ? 10 : 0));
      else
        bits = kind < 6 ? edges[random() % 6] : random() & (top | (top - 1));
    } else if (kind < 5) {
      bits = ir::element_bits(dtype, unit() * (kind < 3 ? 2 : 40));
    } else if (kind == 5) {
      bits = random() & (top | (top - 1));
    } else {
      const uint64_t below_infinity = ir::element_bits(dtype, infinity) - 1;
      const uint64_t edges[] = {1, 2, below_infinity, below_infinity | top, top | 1};
      bits = kind == 6 ? ir::element_bits(dtype, special[random() % special.size()])
                       : edges[random() % 5];
    }
    out.set_bits(i, bits);
  }
  return out;
}

HostArray numbers_between(DType dtype, const Shape& shape, double low, double high, uint64_t seed) {
  std::mt19937_64 random(seed);
  HostArray out(dtype, shape);
  for (int64_t i = 0; i < out.numel(); ++i) {
    const double value = low + (high - low) * std::ldexp(double(random() >> 11), -53);
    out.set_bits(i, ir::element_bits(dtype, is_float(dtype) ? value : std::floor(value)));
  }
  return out;
}

std::vector<HostArray> product_operands(const ir::Graph& graph) {
  std::vector<HostArray> out;
  for (const Value& p : graph.parameters)
    out.push_back(numbers_between(p->dtype, p->shape, is_unsigned(p->dtype) ? 0 : -2,
                                  is_float(p->dtype) ? 2 : 50, 1 + out.size()));
  return out;
}

Tolerance product_tolerance(DType dtype, int64_t terms) {
  if (!is_float(dtype)) return {};
  Tolerance out = sum_tolerance(dtype, terms, 4 * double(terms));
  if (size_of(dtype) == 2) out.ulps = 2;  // two roundings may go different ways
  return out;
}

}  // namespace cermet::test

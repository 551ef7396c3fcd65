// ir-dump: what the compiler makes of a graph, stage by stage.
//
// Reads the text of a graph (ir/text.h) and prints it as it is after the stages that are asked for.
// A new stage is one row of the table below: its name, what it shows, and a function from the
// graph to text.

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <optional>
#include <string>
#include <vector>

#include "cermet/error.h"
#include "compiler/autograd.h"
#include "compiler/codegen.h"
#include "compiler/fuse.h"
#include "compiler/kernels_text.h"
#include "compiler/kernels_verify.h"
#include "compiler/llvm_module.h"
#include "compiler/loops_text.h"
#include "compiler/program.h"
#include "compiler/simplify.h"
#include "ir/build.h"
#include "ir/text.h"

namespace {

namespace compiler = cermet::compiler;
namespace ir = cermet::ir;

// Exit codes, so that scripts need not read messages.
enum Exit : int { Done = 0, Usage = 2, ParseError = 3, CompileError = 4 };

struct Options {
  std::string file;
  std::string target = "host";
  std::vector<std::string> stages = {"graph"};
  bool grad = false;
  bool why = false;
};

std::string graph_text(const ir::Graph& graph, const Options&) { return ir::print(graph); }

// With --why, the rules that were used, as comments behind the graph.
std::string simplified_text(const ir::Graph& graph, const Options& options) {
  compiler::RuleCounts used;
  std::string text = ir::print(compiler::simplify(graph, &used));
  if (options.why)
    for (const auto& [rule, count] : used) text += fmt::format("# {} x  {}\n", count, rule);
  return text;
}

// With --why, the fusions that were refused.
std::string kernels_text(const ir::Graph& graph, const Options& options) {
  const compiler::KernelProgram program =
      compiler::fuse(compiler::simplify(graph), compiler::target(options.target));
  compiler::check_kernels(program);
  std::string text = compiler::print_kernels(program);
  if (options.why)
    for (const compiler::Refusal& refusal : program.refusals)
      text += fmt::format("# not fused: {}\n#   into {}\n#   {}\n", refusal.producer,
                          refusal.consumer, refusal.reason);
  return text;
}

// Every launch of the compiled graph: a line that says what it runs on, and the text of its kernel.
// `comment` begins a comment in that text.
template <class KernelText>
std::string launches_text(const ir::Graph& graph, const Options& options, char comment,
                          const KernelText& kernel_text) {
  const compiler::Target target = compiler::target(options.target);
  const compiler::Program program = compiler::compile(graph, target);
  std::string text;
  for (const compiler::Program::Launch& launch : program.launches) {
    const compiler::LoweredKernel& kernel = launch.kernel;
    const std::string buffers = fmt::format("buffers=[{}]", fmt::join(kernel.buffers, ","));
    if (launch.kind == compiler::Kernel::Kind::Sort) {
      text += fmt::format("{} sort {} rows={} columns={}{}\n", comment, buffers, launch.rows,
                          launch.columns, launch.descending ? " descending" : "");
      continue;
    }
    text += fmt::format("{} {} {} integers=[{}] range={} grain={} scratch={}\n", comment,
                        kernel.function.name, buffers, fmt::join(kernel.integers, ","),
                        kernel.range, kernel.grain, kernel.scratch_bytes);
    text += kernel_text(kernel.function, target);
    if (!text.ends_with('\n')) text += '\n';
  }
  return text;
}

std::string loops_text(const ir::Graph& graph, const Options& options) {
  return launches_text(graph, options, '#',
                       [](const compiler::loops::Function& function, const compiler::Target&) {
                         return compiler::loops::print(function);
                       });
}
std::string llvm_text(const ir::Graph& graph, const Options& options) {
  return launches_text(graph, options, ';', compiler::llvm_backend().to_llvm_ir);
}
std::string asm_text(const ir::Graph& graph, const Options& options) {
  return launches_text(graph, options, '#', compiler::llvm_backend().to_assembly);
}

struct Stage {
  std::string_view name, shows;
  std::string (*text)(const ir::Graph&, const Options&);
};
constexpr Stage stages[] = {
    {"graph", "the graph as it was read", graph_text},
    {"simplified", "after the safe rewrites", simplified_text},
    {"kernels", "the fused kernels", kernels_text},
    {"loops", "each kernel as loops over vectors", loops_text},
    {"llvm", "as LLVM IR", llvm_text},
    {"asm", "as assembly of the target", asm_text},
};

const Stage* stage_named(std::string_view name) {
  for (const Stage& stage : stages)
    if (stage.name == name) return &stage;
  return nullptr;
}

// The graph with more results: the gradients of the sum of all its float results, with respect to
// its leaves in the order of their use, or to its float parameters if it has no leaves.
ir::Graph with_gradients(ir::Graph graph) {
  std::vector<ir::Value> outputs, ones;
  for (const ir::Value& result : graph.results) {
    if (!is_float(result->dtype)) continue;
    outputs.push_back(result);
    ones.push_back(ir::like(result, 1));
  }
  std::vector<ir::Value> inputs = compiler::leaves_of(outputs);
  if (inputs.empty())
    for (const ir::Value& parameter : graph.parameters)
      if (is_float(parameter->dtype)) inputs.push_back(parameter);
  const std::vector<ir::Value> gradients = compiler::vjp(outputs, inputs, ones);
  for (size_t i = 0; i < inputs.size(); ++i)
    graph.results.push_back(gradients[i] ? gradients[i] : ir::zeros_like(inputs[i]));
  return graph;
}

std::optional<std::string> read(const std::string& file) {
  if (file == "-")
    return std::string(std::istreambuf_iterator<char>(std::cin), std::istreambuf_iterator<char>());
  if (std::filesystem::is_directory(file)) return std::nullopt;
  std::ifstream in(file, std::ios::binary);
  std::string text((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  if (!in.is_open() || in.bad()) return std::nullopt;
  return text;
}

int fail(Exit code, std::string_view message) {
  fmt::print(stderr, "{}\n", message);
  return code;
}

int dump(const Options& options) {
  for (const std::string& name : options.stages)
    if (!stage_named(name)) return fail(Usage, fmt::format("ir-dump: no stage '{}'", name));
  const std::optional<std::string> text = read(options.file);
  if (!text) return fail(Usage, fmt::format("ir-dump: cannot read {}", options.file));
  ir::Graph graph;
  try {
    graph = ir::parse(*text, options.file == "-" ? "<stdin>" : options.file);
  } catch (const cermet::Error& error) {
    return fail(ParseError, error.what());
  }
  if (options.grad) graph = with_gradients(std::move(graph));
  for (const std::string& name : options.stages) {
    if (options.stages.size() > 1) fmt::print("# stage: {}\n", name);
    fmt::print("{}", stage_named(name)->text(graph, options));
  }
  return Done;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CLI::App app(
      "Prints what the compiler makes of a graph.\nExit codes: 0 done, 2 usage, 3 the text "
      "is no graph, 4 the graph does not compile.",
      "ir-dump");
  std::string list = "What to print, one or more with commas between:";
  for (const Stage& stage : stages) list += fmt::format("\n  {:12}{}", stage.name, stage.shows);
  app.add_option("FILE", options.file, "A graph as text (.cir); - reads standard input")
      ->required();
  app.add_option("--stage", options.stages, list)->delimiter(',')->capture_default_str();
  app.add_flag("--grad", options.grad,
               "First append the gradients of the sum of all float results, with respect to the "
               "leaves, or to the float parameters if there are none");
  app.add_flag("--why", options.why,
               "Also say why: the rewrites that were used, the fusions that were refused");
  app.add_option("--target", options.target,
                 "The processor to compile for: host, x86-64-v2 (SSE4.2), x86-64-v3 (AVX2), "
                 "x86-64-v4 (AVX-512), znver4, ...")
      ->capture_default_str();
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? Done : Usage;
  }
  try {
    return dump(options);
  } catch (const std::exception& error) {
    return fail(CompileError, fmt::format("ir-dump: {}", error.what()));
  }
}

// ir-dump: what the compiler makes of a graph, stage by stage.
//
// Reads the text of a graph (ir/text.h) and prints it as it is after the stages that are asked for.
// The stages are those of compiler/stages/stages.h.

#include <fmt/format.h>

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
#include "compiler/stages/stages.h"
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
  compiler::Numerics numerics;
  int64_t memory_budget = 0;
};

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
    if (!compiler::find_stage(name))
      return fail(Usage, fmt::format("ir-dump: no stage '{}'", name));
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
    const compiler::Stage& stage = *compiler::find_stage(name);
    // The graph itself is shown without opening LLVM, which knows the targets.
    compiler::Target target =
        stage.needs_target ? compiler::target(options.target) : compiler::Target();
    target.numerics = options.numerics;
    target.memory_budget = options.memory_budget;
    if (options.stages.size() > 1) fmt::print("# stage: {}\n", name);
    fmt::print("{}", stage.text(graph, target, options.why));
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
  for (const compiler::Stage& stage : compiler::stages())
    list += fmt::format("\n  {:12}{}", stage.name, stage.shows);
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
                 "x86-64-v4 (AVX-512), znver4, ..., or a GPU: sm_75 to sm_120")
      ->capture_default_str();
  app.add_flag("--fast", options.numerics.fast,
               "Let results differ from strict arithmetic's by a few roundings, for speed");
  app.add_option("--memory-budget", options.memory_budget,
                 "Bytes for temporaries and results: compute values again rather than exceed them")
      ->check(CLI::NonNegativeNumber);
  app.add_flag("--tf32", options.numerics.tf32,
               "Multiply matrices of f32 as tf32 on GPUs from sm_80 on");
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

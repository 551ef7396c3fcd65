// ir-dump as it is run from a shell: exit codes, messages, and the golden files.
//
// A golden file (tests/compiler/golden/*.cir) is a graph followed by what ir-dump makes of it, in
// comments, so that the whole file is its own input:
//
//   cir 1
//   graph main(...) { ... }
//   # $ ir-dump --stage=simplified
//   #| what that prints, line by line
//
// CERMET_UPDATE=1 rewrites the expectations; git shows what changed.

#include <fmt/format.h>

#include <cstdlib>
#include <filesystem>
#include <sstream>

#include "support/catch.h"
#include "support/cuda.h"
#include "support/paths.h"
#include "support/shell.h"

using namespace cermet;
using test::Outcome;

namespace {

// Runs ir-dump in a folder, through the shell.
Outcome ir_dump(const std::string& arguments, const std::filesystem::path& folder) {
  return test::run_shell(fmt::format("cd '{}' && '{}' {}", folder.string(),
                                     (test::build_dir() / "tools/ir-dump").string(), arguments));
}

constexpr std::string_view command_mark = "# $ ir-dump";

// The file with every expectation replaced by what ir-dump prints now.
std::string updated(const std::filesystem::path& path) {
  std::istringstream in(test::read_text(path));
  std::string out;
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("#|")) continue;
    out += line + "\n";
    if (!line.starts_with(command_mark)) continue;
    const std::string arguments = line.substr(command_mark.size());
    const Outcome outcome = ir_dump(path.filename().string() + arguments, path.parent_path());
    std::istringstream lines(outcome.output);
    for (std::string each; std::getline(lines, each);)
      out += each.empty() ? "#|\n" : fmt::format("#| {}\n", each);
    if (outcome.code != 0) out += fmt::format("#| (exit code {})\n", outcome.code);
  }
  return out;
}

constexpr std::string_view small =
    "cir 1\n"
    "graph main(%0: f32[2]) {\n"
    "  %1 = constant 1 : f32[2]\n"
    "  %2 = mul %0, %1 : f32[2]\n"
    "  return %2\n"
    "}\n";

}  // namespace

TEST_CASE("ir-dump: golden files print what they say") {
  const bool update = std::getenv("CERMET_UPDATE") != nullptr;
  int files = 0;
  for (const auto& entry :
       std::filesystem::directory_iterator(test::source_dir() / "tests/compiler/golden")) {
    if (entry.path().extension() != ".cir") continue;
    ++files;
    const std::string now = updated(entry.path());
    INFO(entry.path().string());
    CHECK(now.find("\n#|") != std::string::npos);
    if (update)
      test::write_text(entry.path(), now);
    else
      CHECK(now == test::read_text(entry.path()));
  }
  CHECK(files > 0);
}

TEST_CASE("ir-dump: reads files and standard input, and prints the stages asked for") {
  const test::TemporaryDirectory folder;
  test::write_text(folder.path() / "a.cir", small);
  const auto run = [&](const std::string& arguments) { return ir_dump(arguments, folder.path()); };
  CHECK(run("a.cir").code == 0);
  CHECK(run("a.cir").output == small);
  CHECK(run("- < a.cir").output == small);
  const std::string simplified = "cir 1\ngraph main(%0: f32[2]) {\n  return %0\n}\n";
  CHECK(run("--stage=simplified a.cir").output == simplified);
  CHECK(run("a.cir --stage graph,simplified").output ==
        fmt::format("# stage: graph\n{}# stage: simplified\n{}", small, simplified));
  CHECK(run("a.cir --stage=simplified --why").output == simplified + "# 1 x  x * 1 => x\n");
}

TEST_CASE("ir-dump: --why says how kernels for GPUs are lowered") {
  const test::TemporaryDirectory folder;
  test::write_text(folder.path() / "a.cir",
                   "cir 1\n"
                   "graph main(%0: f32[1,300,200], %1: f32[1,200,64]) {\n"
                   "  %2 = view %0 strides=[0,1,200] : f32[1,200,300]\n"
                   "  %3 = neg %2 : f32[1,200,300]\n"
                   "  %4 = dot %0, %1 : f32[1,300,64]\n"
                   "  %5 = reduce sum %0 axes=[2] : f32[1,300]\n"
                   "  return %3, %4, %5\n"
                   "}\n");
  const std::string said =
      ir_dump("a.cir --stage=kernels --why --target=sm_90", folder.path()).output;
  CAPTURE(said);
  CHECK_THAT(said,
             Catch::Matchers::ContainsSubstring("# map_neg: a transpose through shared memory"));
  CHECK_THAT(said, Catch::Matchers::ContainsSubstring("# contract: a product in tiles"));
  CHECK_THAT(said, Catch::Matchers::ContainsSubstring("# row_sum: threads take"));
}

TEST_CASE("ir-dump: --grad appends gradients") {
  const test::TemporaryDirectory folder;
  test::write_text(folder.path() / "a.cir",
                   "cir 1\n"
                   "graph main(%0: f32[2], %1: f32[2], %2: i64[2]) {\n"
                   "  %3 = leaf %0 id=0 : f32[2]\n"
                   "  %4 = mul %3, %1 : f32[2]\n"
                   "  return %4, %2\n"
                   "}\n");
  CHECK(ir_dump("a.cir --grad --stage=simplified", folder.path()).output ==
        "cir 1\n"
        "graph main(%0: f32[2], %1: f32[2], %2: i64[2]) {\n"
        "  %3 = mul %0, %1 : f32[2]\n"
        "  return %3, %2, %1\n"
        "}\n");
}

TEST_CASE("ir-dump: shows loops, LLVM IR and assembly of each kernel") {
  const test::TemporaryDirectory folder;
  test::write_text(
      folder.path() / "a.cir",
      "cir 1\ngraph main(%0: f32[1000]) {\n  %1 = add %0, %0 : f32[1000]\n  return %1\n}\n");
  const auto stage = [&](std::string_view name, std::string_view target) {
    const Outcome outcome =
        ir_dump(fmt::format("a.cir --stage={} --target={}", name, target), folder.path());
    CAPTURE(outcome.output);
    CHECK(outcome.code == 0);
    return outcome.output;
  };
  using Catch::Matchers::ContainsSubstring;
  CHECK_THAT(stage("loops", "x86-64-v3"), ContainsSubstring(" = add f32x8 "));
  CHECK_THAT(stage("loops", "x86-64-v2"), ContainsSubstring(" = add f32x4 "));
  CHECK_THAT(stage("llvm", "x86-64-v3"), ContainsSubstring("fadd <8 x float>"));
  CHECK_THAT(stage("asm", "x86-64-v3"), ContainsSubstring("vaddps"));
  CHECK_THAT(stage("asm", "x86-64-v4"), ContainsSubstring("zmm"));
  CHECK(ir_dump("a.cir --stage=kernels --target=i386", folder.path()).code == 4);
}

TEST_CASE("ir-dump: shows CUDA C, PTX and what kernels cost, for any GPU") {
  CERMET_NEEDS_NVRTC();
  const test::TemporaryDirectory folder;
  test::write_text(folder.path() / "a.cir",
                   "cir 1\ngraph main(%0: f32[64,512]) {\n  %1 = add %0, %0 : f32[64,512]\n"
                   "  %2 = reduce sum %1 axes=[1] : f32[64]\n  return %1, %2\n}\n");
  const auto stage = [&](std::string_view name, std::string_view target) {
    return ir_dump(fmt::format("a.cir --stage={} --target={}", name, target), folder.path());
  };
  using Catch::Matchers::ContainsSubstring;
  CHECK_THAT(stage("cuda", "sm_90").output, ContainsSubstring("__global__ void"));
  for (const char* target : {"sm_75", "sm_90", "sm_120"}) {
    CHECK_THAT(stage("ptx", target).output, ContainsSubstring(fmt::format(".target {}", target)));
    const Outcome resources = stage("resources", target);
    CAPTURE(resources.output);
    CHECK(resources.code == 0);
    CHECK_THAT(resources.output, ContainsSubstring("registers  spills   stack"));
    CHECK_THAT(resources.output, ContainsSubstring("\nrow_add_sum "));
  }
  CHECK(stage("resources", "x86-64-v3").code == 4);
}

TEST_CASE("ir-dump: shows what fast numerics and tf32 make of a graph") {
  const test::TemporaryDirectory folder;
  test::write_text(folder.path() / "a.cir",
                   "cir 1\ngraph main(%0: f32[1,64,64]) {\n  %1 = dot %0, %0 : f32[1,64,64]\n"
                   "  %2 = mul %0, %0 : f32[1,64,64]\n  %3 = add %2, %0 : f32[1,64,64]\n"
                   "  %4 = exp %3 : f32[1,64,64]\n  return %1, %4\n}\n");
  const auto loops = [&](std::string_view options) {
    return ir_dump(fmt::format("a.cir --stage=loops {}", options), folder.path()).output;
  };
  using Catch::Matchers::ContainsSubstring;
  CHECK_THAT(loops("--target=sm_80"),
             !ContainsSubstring("= mma") && !ContainsSubstring("exp2_approx"));
  CHECK_THAT(loops("--target=sm_80 --tf32"), ContainsSubstring("= mma f32x4 2 "));
  CHECK_THAT(loops("--target=sm_75 --tf32"), !ContainsSubstring("= mma"));
  CHECK_THAT(loops("--target=sm_75 --fast"), ContainsSubstring("exp2_approx"));
  CHECK(loops("--target=x86-64-v2 --tf32") == loops("--target=x86-64-v2"));
}

TEST_CASE("ir-dump: exit codes tell what went wrong") {
  const test::TemporaryDirectory folder;
  test::write_text(folder.path() / "a.cir", small);
  test::write_text(folder.path() / "bad.cir",
                   "cir 1\ngraph main(%0: f32[2]) {\n  %1 = sine %0 : f32[2]\n"
                   "  %2 = add %0 : f32[2]\n  return %1\n}\n");
  test::write_text(folder.path() / "opaque.cir",
                   "cir 1\ngraph main(%0: f32[2]) {\n"
                   "  %1 = custom_gradient %0, %0 rule=opaque : f32[2]\n  return %1\n}\n");
  const auto run = [&](const std::string& arguments) { return ir_dump(arguments, folder.path()); };
  CHECK(run("--help").code == 0);
  CHECK(run("").code == 2);
  CHECK(run("a.cir --colour").code == 2);
  CHECK(run("a.cir --stage=simple").code == 2);
  CHECK(run("a.cir --stage=simple").output == "ir-dump: no stage 'simple'\n");
  CHECK(run("none.cir").code == 2);
  CHECK(run("none.cir").output == "ir-dump: cannot read none.cir\n");
  CHECK(run(".").code == 2);
  const Outcome bad = run("bad.cir");
  CHECK(bad.code == 3);
  CHECK(bad.output ==
        "bad.cir:3:8: unknown op 'sine', did you mean 'sin'?\n"
        "bad.cir:4:8: add: expects 2 operands, got 1\n");
  CHECK(run("- < /dev/null").code == 3);
  const Outcome opaque = run("opaque.cir --grad");
  CHECK(opaque.code == 4);
  CHECK(opaque.output ==
        "ir-dump: custom_gradient: the rule of a parsed graph is opaque, it has no gradient\n");
}

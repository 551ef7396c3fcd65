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

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>

#include "support/catch.h"
#include "support/paths.h"

using namespace cermet;

namespace {

struct Outcome {
  int code;
  std::string output;  // standard output and standard error
};

// Runs ir-dump in a folder, through the shell.
Outcome ir_dump(const std::string& arguments, const std::filesystem::path& folder) {
  const std::string command =
      fmt::format("cd '{}' && '{}' {} 2>&1", folder.string(),
                  (test::build_dir() / "tools/ir-dump").string(), arguments);
  std::FILE* pipe = popen(command.c_str(), "r");
  REQUIRE(pipe != nullptr);
  Outcome outcome{0, ""};
  char buffer[4096];
  while (const size_t count = std::fread(buffer, 1, sizeof buffer, pipe))
    outcome.output.append(buffer, count);
  const int status = pclose(pipe);
  outcome.code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return outcome;
}

std::string read(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}
void write(const std::filesystem::path& path, std::string_view text) {
  std::ofstream(path, std::ios::binary) << text;
}

constexpr std::string_view command_mark = "# $ ir-dump";

// The file with every expectation replaced by what ir-dump prints now.
std::string updated(const std::filesystem::path& path) {
  std::istringstream in(read(path));
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
      write(entry.path(), now);
    else
      CHECK(now == read(entry.path()));
  }
  CHECK(files > 0);
}

TEST_CASE("ir-dump: reads files and standard input, and prints the stages asked for") {
  const test::TemporaryDirectory folder;
  write(folder.path() / "a.cir", small);
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

TEST_CASE("ir-dump: --grad appends gradients") {
  const test::TemporaryDirectory folder;
  write(folder.path() / "a.cir",
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
  write(folder.path() / "a.cir",
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

TEST_CASE("ir-dump: exit codes tell what went wrong") {
  const test::TemporaryDirectory folder;
  write(folder.path() / "a.cir", small);
  write(folder.path() / "bad.cir",
        "cir 1\ngraph main(%0: f32[2]) {\n  %1 = sine %0 : f32[2]\n"
        "  %2 = add %0 : f32[2]\n  return %1\n}\n");
  write(folder.path() / "opaque.cir",
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

// The example as it is run from a shell: it learns, compiles nothing after its second step, keeps
// its weights, gives the same bits for any number of threads, and says what is wrong.

#include <fmt/format.h>

#include <bit>
#include <chrono>
#include <csignal>
#include <cstring>
#include <string>

#include <sys/wait.h>
#include <unistd.h>

#include "cermet/cermet.h"
#include "support/catch.h"
#include "support/paths.h"
#include "support/shell.h"

using namespace cermet;
using test::Outcome;

namespace {

// LLVM is not instrumented, so containers that it fills look overflown to AddressSanitizer.
constexpr const char* sanitizer_options = "detect_container_overflow=0";

std::string program() { return (test::build_dir() / "tools/examples/mnist").string(); }

// Runs the example in a folder, through the shell; kernels are cached there.
Outcome mnist(const std::filesystem::path& folder, const std::string& arguments,
              const std::string& environment = "") {
  return test::run_shell(fmt::format(
      "cd '{}' && ASAN_OPTIONS={} CERMET_CACHE_DIR='{}/cache' {} '{}' {}", folder.string(),
      sanitizer_options, folder.string(), environment, program(), arguments));
}

double accuracy_of(const Outcome& outcome) {
  const std::string_view mark = "test accuracy: ";
  const size_t at = outcome.output.rfind(mark);
  if (at == std::string::npos) return -1;
  // It is the last line.
  CHECK(outcome.output.find('\n', at) == outcome.output.size() - 1);
  return std::stod(outcome.output.substr(at + mark.size()));
}

// The arrays of two files have the same names, shapes and bits.
void check_same_weights(const std::filesystem::path& one, const std::filesystem::path& other) {
  const NamedTensors a = load_npz(one.string()), b = load_npz(other.string());
  REQUIRE(a.size() == b.size());
  for (size_t i = 0; i < a.size(); ++i) {
    INFO(a[i].first);
    REQUIRE(a[i].first == b[i].first);
    REQUIRE(a[i].second.shape() == b[i].second.shape());
    const auto x = a[i].second.to_vector<float>(), y = b[i].second.to_vector<float>();
    CHECK(std::memcmp(x.data(), y.data(), x.size() * sizeof(float)) == 0);
  }
}

}  // namespace

TEST_CASE("mnist: both networks learn, compile nothing after two steps, and keep their weights") {
  struct Case {
    std::string flags;
    double least;  // of the accuracy, well below what the seed gives
  };
  const Case cases[] = {
      {"--model=mlp --epochs=2 --train=1500 --test=500", 0.80},
      {"--model=mlp --optimizer=adam --epochs=1 --train=1500 --test=500 --batch=70", 0.70},
      {"--model=cnn --epochs=2 --train=1000 --test=500 --batch=50", 0.75},
  };
  for (const Case& c : cases) {
    const test::TemporaryDirectory folder;
    const Outcome learned = mnist(folder.path(), c.flags + " --seed=3 --save=w.npz");
    INFO(c.flags << "\n" << learned.output);
    REQUIRE(learned.code == 0);
    CHECK(accuracy_of(learned) >= c.least);
    CHECK(learned.output.find("none after the second step") != std::string::npos);
    // Another seed: all that is known comes from the file.
    const Outcome loaded = mnist(folder.path(), c.flags + " --seed=4 --epochs=0 --load=w.npz");
    INFO(loaded.output);
    CHECK(loaded.code == 0);
    CHECK(accuracy_of(loaded) == accuracy_of(learned));
  }
}

TEST_CASE("mnist: weights have the same bits for any number of threads, and kernels stay cached") {
  for (const std::string model : {"mlp", "cnn"}) {
    const test::TemporaryDirectory folder;
    for (const int threads : {1, 2, 5}) {
      const Outcome outcome = mnist(
          folder.path(),
          fmt::format("--model={} --epochs=1 --train=400 --test=100 --save={}.npz", model, threads),
          fmt::format("CERMET_NUM_THREADS={}", threads));
      INFO(outcome.output);
      REQUIRE(outcome.code == 0);
      CHECK((outcome.output.find(" 0 compiled") != std::string::npos) == (threads > 1));
    }
    check_same_weights(folder.path() / "1.npz", folder.path() / "2.npz");
    check_same_weights(folder.path() / "1.npz", folder.path() / "5.npz");
  }
}

TEST_CASE("mnist: mistakes are messages with exit codes") {
  const test::TemporaryDirectory folder;
  const auto run = [&](const std::string& arguments) { return mnist(folder.path(), arguments); };
  const auto contains = [](const Outcome& outcome, const std::string& text) {
    INFO(outcome.output);
    CHECK(outcome.output.find(text) != std::string::npos);
  };
  CHECK(run("--help").code == 0);
  for (const char* wrong : {"--model=rnn", "--epochs=-1", "--batch=0", "--lr=0", "--epochs=many",
                            "--nonsense", "stray"})
    CHECK(run(wrong).code == 2);
  contains(run("--model=rnn"), "--model");

  const Outcome missing = run("--data=none.npz");
  CHECK(missing.code == 1);
  contains(missing, "none.npz");
  const Outcome no_weights = run("--load=none.npz");
  CHECK(no_weights.code == 1);
  contains(no_weights, "none.npz");
  test::write_text(folder.path() / "text.npz", "no archive");
  const Outcome text = run("--data=text.npz");
  CHECK(text.code == 1);
  contains(text, "text.npz");
  contains(run("--train=9000"), "10000 digits, but 9000 to train and 2000 to test");

  const auto save = [&](const char* file, const NamedTensors& arrays) {
    save_npz((folder.path() / file).string(), arrays);
  };
  save("other.npz", {{"a", zeros({2})}});
  contains(run("--data=other.npz"), "expects the arrays images and labels");
  contains(run("--load=other.npz"), "no array fc1.weight");
  save("flat.npz", {{"images", zeros({20, 784}, DType::U8)}, {"labels", zeros({20}, DType::U8)}});
  contains(run("--data=flat.npz"), "expects images [N,28,28] and labels [N]");
  save("shape.npz", {{"fc1.weight", zeros({512, 785})}});
  contains(run("--load=shape.npz"), "fc1.weight is f32 [512,785], expected f32 [512,784]");
  save("classes.npz",
       {{"images", zeros({20, 28, 28}, DType::U8)}, {"labels", full({20}, 10, DType::U8)}});
  contains(run("--data=classes.npz --train=10 --test=10"), "labels must be digits");
  const Outcome unwritable = run("--epochs=0 --train=100 --test=100 --save=no/such/folder/w.npz");
  CHECK(unwritable.code == 1);
  contains(unwritable, "no/such/folder");
}

TEST_CASE("mnist: Ctrl-C ends it between two steps") {
  const test::TemporaryDirectory folder;
  int out[2];
  REQUIRE(pipe(out) == 0);
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    dup2(out[1], STDOUT_FILENO);
    close(out[0]);
    setenv("ASAN_OPTIONS", sanitizer_options, 1);
    setenv("CERMET_CACHE_DIR", (folder.path() / "cache").c_str(), 1);
    execl(program().c_str(), "mnist", "--epochs=100000", "--train=500", "--test=100", nullptr);
    _exit(127);
  }
  close(out[1]);
  std::string output;
  char buffer[4096];
  bool sent = false;
  for (ssize_t count; (count = read(out[0], buffer, sizeof buffer)) > 0;) {
    output.append(buffer, size_t(count));
    if (!sent && output.find("\n     1 ") != std::string::npos) sent = kill(child, SIGINT) == 0;
  }
  close(out[0]);
  int status = 0;
  waitpid(child, &status, 0);
  INFO(output);
  CHECK(sent);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 130);
  CHECK(output.ends_with("interrupted\n"));
}

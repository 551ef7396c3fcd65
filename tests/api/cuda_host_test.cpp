// A GPU in unusual processes: without a driver, forked, ending, of many threads, out of memory.

#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <thread>

#include "api/chosen_gpu.h"
#include "cermet/cermet.h"
#include "support/cuda.h"
#include "support/message.h"
#include "support/shell.h"

namespace ct = cermet;
using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::StartsWith;
using ct::Tensor;
using ct::test::expect_clean_gpu, ct::test::message_of, ct::test::on_real_gpu;
using Floats = std::vector<float>;

namespace {

// A hidden case of this program, in a process of its own.
ct::test::Outcome run_case(const std::string& name) {
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe");
  return ct::test::run_shell(fmt::format("'{}' '{}'", self.string(), name));
}
void expect_passes(const std::string& name) {
  const ct::test::Outcome run = run_case(name);
  INFO(run.output);
  CHECK(run.code == 0);
  CHECK_THAT(run.output, ContainsSubstring("All tests passed"));
}

// Computes when it is destroyed, and says what came of it.
struct Late {
  const char* name;
  Tensor x;

  ~Late() {
    if (!x.defined()) return;
    try {
      std::printf("%s: %g\n", name, double((x * 2 + 1).sum().item<float>()));
    } catch (const ct::DeviceError& e) {
      std::printf("%s: %s\n", name, e.what());
    }
  }
};

}  // namespace

TEST_CASE("cuda child: where there is no driver", "[.]") {
  setenv("CERMET_CUDA_DRIVER", "libcuda-nowhere.so.1", 1);
  CHECK_FALSE(ct::cuda::is_available());
  const Tensor x = ct::tensor({1.0, 2.0});
  const std::string why = "cuda requested, but libcuda-nowhere.so.1 was not found: ";
  CHECK_THAT(message_of<ct::DeviceError>([&] { x.cuda(); }), StartsWith(why));
  CHECK_THAT(message_of<ct::DeviceError>([&] { ct::zeros({2}, "cuda:1").realize(); }),
             StartsWith(why));
  CHECK_THAT(message_of<ct::DeviceError>([&] { ct::cuda::synchronize(); }), StartsWith(why));
  CHECK((x + 1).to_vector<float>() == Floats{2, 3});
}
TEST_CASE("cuda host: without a driver the error names it, and the CPU works") {
  expect_passes("cuda child: where there is no driver");
}

TEST_CASE("cuda host: a forked child is told that it cannot use the parent's GPU") {
  CERMET_NEEDS_NVRTC();
  const Tensor x = (ct::tensor({1.0, 2.0}) * 3).cuda().realize(), y = x * 2;
  y.realize();
  const pid_t child = fork();
  if (child == 0) {
    const auto refused = [](const auto& work) {
      const std::string text = message_of<ct::DeviceError>(work);
      return text.find("forked") != text.npos;
    };
    int failed = 0;
    failed |= refused([&] { (void)x.to_vector<float>(); }) ? 0 : 1;
    failed |= refused([&] { (x + y).realize(); }) ? 0 : 2;
    failed |= refused([&] { ct::cuda::synchronize(); }) ? 0 : 4;
    failed |= ct::cuda::is_available() ? 8 : 0;
    _exit(failed);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
  CHECK(y.to_vector<float>() == Floats{6, 12});
  expect_clean_gpu();
}

TEST_CASE("cuda child: static tensors compute when the process ends", "[.]") {
  CERMET_NEEDS_NVRTC();
  static Late last{"last", {}};  // destroyed after the driver has shut down
  last.x = ct::tensor({1.0, 2.0}).cuda();
  (last.x * 2 + 1).sum().realize();
  static const Late first{"first", last.x};
  CHECK(last.x.to_vector<float>() == Floats{1, 2});
}
TEST_CASE("cuda host: tensors that live until the process ends do no harm") {
  CERMET_NEEDS_NVRTC();
  const ct::test::Outcome run =
      run_case("cuda child: static tensors compute when the process ends");
  INFO(run.output);
  CHECK(run.code == 0);
  CHECK_THAT(run.output, ContainsSubstring("first: 8\n"));
  if (!on_real_gpu()) CHECK_THAT(run.output, ContainsSubstring("CUDA_ERROR_DEINITIALIZED"));
}

TEST_CASE("cuda host: threads share a GPU and its programs") {
  CERMET_NEEDS_NVRTC();
  const Tensor weight = ct::arange(64.0, "cuda").reshape({8, 8}).realize();
  const Tensor place = ct::tensor({6, 1}, "cuda").realize();
  const auto step = [&](const Tensor& x) {
    const Tensor y = ct::matmul(x, weight);
    return (y + y.sum(1, true)).index_select(0, place).sum();
  };
  const auto expected = [&](float value) {
    return 2 * (value * 63 * 64 / 2) * 9;  // two rows; each element once, and 8 times in its sum
  };
  std::vector<std::thread> threads;
  std::vector<int> good(4);
  for (size_t t = 0; t < good.size(); ++t)
    threads.emplace_back([&, t] {
      for (int round = 0; round < 6; ++round) {
        const float value = float(t) + 1 + float(round);
        const Tensor x = ct::full({8, 8}, value, "cuda").realize();
        good[t] += step(x).item<float>() == expected(value);
      }
    });
  for (std::thread& thread : threads) thread.join();
  CHECK(good == std::vector<int>(4, 6));
  expect_clean_gpu();
}

TEST_CASE("cuda child: memory for a few tables", "[.]") {
  CERMET_NEEDS_NVRTC();
  setenv("FAKECUDA_MEMORY", "1M", 1);
  Tensor table = ct::zeros({256, 128}, "cuda").realize();  // 128 KB
  const Tensor place = ct::full({1, 128}, 200, "cuda").realize(),
               one = ct::ones({1, 128}, "cuda").realize();
  for (int round = 0; round < 12; ++round) {
    table.scatter_add_(0, place, one);
    const Tensor other = table * 2;
    ct::realize({table, other});
  }
  CHECK(table.sum().item<float>() == 12 * 128);
  const std::string text =
      message_of<ct::DeviceError>([] { ct::zeros({1024, 1024}, "cuda").realize(); });
  CHECK_THAT(text, StartsWith("cuda:0: no memory for 4194304 bytes on "));
  CHECK_THAT(text, ContainsSubstring(" of 1048576 are free"));
  CHECK(table.sum().item<float>() == 12 * 128);
}
TEST_CASE("cuda child: a GPU that fails in the middle", "[.]") {
  CERMET_NEEDS_NVRTC();
  setenv("FAKECUDA_FAIL", "cuGraphLaunch:719:2", 1);
  const Tensor x = ct::arange(20.0, "cuda").reshape({4, 5}).realize();
  const auto step = [&] { (x.softmax(1).t().contiguous().cumsum(0) * 1.5).argmax(1).realize(); };
  step();  // as launches
  step();  // as a graph
  const std::string text = message_of<ct::DeviceError>(step);
  CHECK_THAT(text, ContainsSubstring("(CUDA_ERROR_LAUNCH_FAILED, 719); the device is lost"));
  CHECK_THAT(text, ContainsSubstring(" launches (row_"));
  CHECK_THAT(text, ContainsSubstring(", row_max_sub_exp_sum<<<"));
}
TEST_CASE("cuda host: errors of a GPU name kernels by what they do") {
  CERMET_NEEDS_NVRTC();
  if (on_real_gpu()) SKIP("needs a GPU that fails");
  expect_passes("cuda child: a GPU that fails in the middle");
}

TEST_CASE("cuda host: memory that open runs keep is waited for before there is none") {
  CERMET_NEEDS_NVRTC();
  if (on_real_gpu()) SKIP("needs a small GPU");
  expect_passes("cuda child: memory for a few tables");
}

// Programs that use a GPU by other means as well: their own streams, contexts and memory.

#include <fmt/format.h>

#include <cstdio>
#include <cstring>
#include <filesystem>
#include <functional>
#include <memory>
#include <thread>

#include "api/chosen_gpu.h"
#include "api/errors.h"
#include "cermet/cermet.h"
#include "ir/dynlib.h"
#include "runtime/cuda/module.h"
#include "runtime/gpu_engine.h"
#include "support/cuda.h"
#include "support/message.h"
#include "support/ptx_kernels.h"
#include "support/shell.h"

namespace ct = cermet;
namespace cuda = ct::runtime::cuda;
using Catch::Matchers::ContainsSubstring;
using ct::Tensor;
using ct::test::expect_clean_gpu, ct::test::gpu_counters, ct::test::on_real_gpu;
using Floats = std::vector<float>;

namespace {

void must(cuda::Result result) { REQUIRE(result == cuda::Result::Success); }
const cuda::Driver& driver() { return cuda::driver(); }
std::shared_ptr<const cuda::Card> card(int index = 0) {
  return ct::runtime::gpu_engine(index).device().card();
}

// What another library has: a stream, memory, a kernel, all of the primary context.
class Caller {
 public:
  explicit Caller(int index = 0)
      : card_(card(index)), module_(cuda::Module::load(card_, ct::test::ptx_kernels)) {
    const cuda::Card::Current current(*card_);
    must(driver().StreamCreate(&stream_, cuda::stream_non_blocking));
  }
  ~Caller() {
    const cuda::Card::Current current(*card_);
    driver().StreamSynchronize(stream_);
    for (const cuda::Address address : memory_) driver().MemFree(address);
    if (stream_) driver().StreamDestroy(stream_);
  }
  Caller(const Caller&) = delete;
  Caller& operator=(const Caller&) = delete;

  void* stream() const { return stream_; }
  // Waits for this stream and no other.
  void wait() const {
    const cuda::Card::Current current(*card_);
    must(driver().StreamSynchronize(stream_));
  }
  // Memory with these elements.
  void* array(const Floats& values) {
    const cuda::Card::Current current(*card_);
    cuda::Address address = 0;
    must(driver().MemAlloc(&address, std::max<size_t>(values.size() * 4, 1)));
    memory_.push_back(address);
    must(driver().MemcpyHtoDAsync(address, values.data(), values.size() * 4, stream_));
    wait();
    return reinterpret_cast<void*>(address);
  }
  // y[i] = x[i] * a, when the stream comes to it.
  void scale(void* y, const void* x, float a, int n) const { scale(y, x, a, n, stream_); }
  void scale(void* y, const void* x, float a, int n, void* stream) const {
    const auto borrowed = cuda::Stream::borrow(card_, static_cast<CUstream_st*>(stream));
    module_.function("scale").launch(borrowed, {{(n + 127) / 128, 1, 1}, {128, 1, 1}},
                                     cuda::Arguments()
                                         .add(reinterpret_cast<cuda::Address>(y))
                                         .add(reinterpret_cast<cuda::Address>(x))
                                         .add(a)
                                         .add(n)
                                         .bytes());
  }
  Floats read(const void* memory, size_t count) const {
    Floats out(count);
    const cuda::Card::Current current(*card_);
    must(driver().MemcpyDtoHAsync(out.data(), reinterpret_cast<cuda::Address>(memory), count * 4,
                                  stream_));
    wait();
    return out;
  }

 private:
  const std::shared_ptr<const cuda::Card> card_;
  const cuda::Module module_;
  CUstream_st* stream_ = nullptr;
  std::vector<cuda::Address> memory_;
};

Floats counting(int64_t n, float factor = 1) {
  Floats out;
  for (int64_t i = 0; i < n; ++i) out.push_back(factor * float(i));
  return out;
}

Tensor blob(void* memory, int64_t n) {
  return ct::from_blob(memory, {n}, ct::DType::F32, ct::cuda::first_gpu);
}

// A hidden case of this program, in a process of its own.
ct::test::Outcome run_case(const std::string& name, const std::string& schedule) {
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe");
  const std::string gpu = on_real_gpu() ? "real" : "90 " + schedule;
  return ct::test::run_shell(
      fmt::format("CERMET_TEST_GPU='{}' '{}' '{}'", gpu, self.string(), name));
}

}  // namespace

TEST_CASE("cuda stream: the caller's kernels and ours take turns on one stream without waits") {
  CERMET_NEEDS_NVRTC();
  constexpr int n = 300;
  Caller caller;
  void* const x = caller.array(counting(n));
  void* const y = caller.array(Floats(n));
  void* const z = caller.array(Floats(n));
  (blob(x, n) * 3 + 1).realize();  // compiled
  ct::cuda::synchronize();
  const ct::cuda::StreamGuard guard(caller.stream());
  CHECK(ct::cuda::current_stream() == caller.stream());
  for (int round = 0; round < 4; ++round) {
    const uint64_t waits = gpu_counters().waits;
    caller.scale(y, x, float(round), n);
    const Tensor t = blob(y, n) * 3 + 1;
    caller.scale(z, t.data_ptr(), 2, n);
    if (!on_real_gpu()) CHECK(gpu_counters().waits == waits);
    Floats expected = counting(n, float(round));
    for (float& v : expected) v = 2 * (3 * v + 1);
    CHECK(caller.read(z, n) == expected);
  }
  expect_clean_gpu();
}

TEST_CASE("cuda stream: tensors are computed on one stream and read on others") {
  CERMET_NEEDS_NVRTC();
  Caller first, second;
  const Tensor own = (ct::arange(100.0, "cuda") * 2).realize();
  Tensor a, b;
  {
    const ct::cuda::StreamGuard guard(first.stream());
    a = (own + 1).realize();
    {
      const ct::cuda::StreamGuard inner(second.stream());
      b = (a + own).realize();
      CHECK(ct::cuda::current_stream() == second.stream());
    }
    CHECK(ct::cuda::current_stream() == first.stream());
    const Tensor c = (b * 2).realize();
    CHECK(c.to_vector<float>()[7] == 2 * (2 * 14 + 1));
  }
  // On our own stream again, whatever became of theirs.
  CHECK((a + b).sum().item<float>() == 3 * 9900 + 200);
  ct::cuda::set_stream(nullptr);  // the legacy default stream
  CHECK(ct::cuda::current_stream() == nullptr);
  CHECK((a * b).to_vector<float>()[1] == 15);
  ct::cuda::reset_stream();
  CHECK((b - a).to_vector<float>()[3] == 6);
  if (cuda::available_devices() > 1) CHECK(b.to("cuda:1").to_vector<float>()[3] == 13);
  expect_clean_gpu();
}

TEST_CASE("cuda stream: what a stream that was destroyed has left is waited for") {
  CERMET_NEEDS_NVRTC();
  for (int round = 0; round < 6; ++round) {
    Tensor a;
    const Tensor x = ct::full({1000}, float(round), "cuda").realize();
    {
      CUstream_st* stream = nullptr;
      {
        const cuda::Card::Current current(*card());
        must(driver().StreamCreate(&stream, cuda::stream_non_blocking));
      }
      {
        const ct::cuda::StreamGuard guard(stream);
        a = (x * 3 + 1).realize();
        const Tensor gone = (a + x).realize();
      }
      const cuda::Card::Current current(*card());
      must(driver().StreamDestroy(stream));
    }
    const Tensor b = (a + 1).realize();
    CHECK(b.sum().item<float>() == 1000 * (3 * float(round) + 2));
  }
  ct::cuda::synchronize();
  expect_clean_gpu();
}

TEST_CASE("cuda stream: threads with streams of their own share tensors and programs") {
  CERMET_NEEDS_NVRTC();
  const Tensor weight = ct::arange(64.0, "cuda").reshape({8, 8}).realize();
  const Tensor place = ct::tensor({6, 1}, "cuda").realize();
  std::vector<int> good(4);
  std::vector<std::thread> threads;
  for (size_t t = 0; t < good.size(); ++t)
    threads.emplace_back([&, t] {
      Caller caller;
      for (int round = 0; round < 5; ++round) {
        std::unique_ptr<ct::cuda::StreamGuard> guard;
        if (t + size_t(round) > 1) guard = std::make_unique<ct::cuda::StreamGuard>(caller.stream());
        const float value = float(t) + 1 + float(round);
        const Tensor x = ct::full({8, 8}, value, "cuda").realize();
        const Tensor y = ct::matmul(x, weight);
        const Tensor sum = (y + y.sum(1, true)).index_select(0, place).sum();
        good[t] += sum.item<float>() == 2 * (value * 63 * 64 / 2) * 9;
      }
    });
  for (std::thread& thread : threads) thread.join();
  CHECK(good == std::vector<int>(4, 5));
  expect_clean_gpu();
}

TEST_CASE("cuda stream: borrowed memory of a GPU is read, written and given back") {
  CERMET_NEEDS_NVRTC();
  Caller caller;
  void* const memory = caller.array(counting(24));
  int deleted = 0;
  {
    const ct::cuda::StreamGuard guard(caller.stream());
    Tensor x =
        ct::from_blob(memory, {4, 6}, ct::DType::F32, ct::cuda::first_gpu, {}, [&] { ++deleted; });
    CHECK(ct::to_string(x.device()) == "cuda:0");
    CHECK(x.data_ptr() == memory);
    CHECK(x.sum().item<float>() == 276);
    const Tensor before = x.clone().realize(), pending = x + 1;
    x.mul_(10);
    x[2].fill_(-1);
    ct::realize({x, pending});
    Floats expected = counting(24, 10);
    for (size_t i = 12; i < 18; ++i) expected[i] = -1;
    CHECK(caller.read(memory, 24) == expected);
    CHECK(before.to_vector<float>() == counting(24));
    CHECK(pending.to_vector<float>()[23] == 24);
    // The caller writes, and what is computed then sees it.
    caller.scale(memory, memory, 0.5f, 24);
    CHECK((x + 0).to_vector<float>()[23] == 115);
    CHECK(x.to_vector<float>()[13] == -0.5f);
    // Strides, from behind, of elements at no multiple of 16 bytes.
    auto* third = static_cast<float*>(memory) + 3;
    const Tensor odd = ct::from_blob(third, {3, 2}, ct::DType::F32, ct::cuda::first_gpu, {6, -2});
    CHECK((odd * 2).to_vector<float>() == Floats{30, 10, 90, 70, -1, -1});
    CHECK(odd.t().contiguous().to_vector<float>() == Floats{15, 45, -0.5f, 5, 35, -0.5f});
    CHECK(deleted == 0);
  }
  CHECK(deleted == 1);
  expect_clean_gpu();
}

TEST_CASE("cuda stream: a pointer to a tensor's elements is the caller's to write to") {
  CERMET_NEEDS_NVRTC();
  Caller caller;
  Tensor t = (ct::arange(50.0, "cuda") + 1).realize();
  const Tensor twin = (ct::arange(50.0, "cuda") + 1).realize(), old = t * 1;
  void* pointer = nullptr;
  {
    const ct::cuda::StreamGuard guard(caller.stream());
    pointer = t.data_ptr();
    CHECK(t.slice(0, 7, 9).data_ptr() == static_cast<float*>(pointer) + 7);
    caller.scale(pointer, pointer, 100, 50);
  }
  CHECK((t + 0).to_vector<float>()[3] == 400);
  CHECK(t.to_vector<float>()[3] == 400);
  CHECK(twin.to_vector<float>()[3] == 4);
  t.add_(5);
  t.realize();
  CHECK(t.data_ptr() == pointer);
  const ct::cuda::StreamGuard guard(caller.stream());
  CHECK(t.data_ptr() == pointer);  // from now on for work of this stream
  CHECK(caller.read(pointer, 2) == Floats{105, 205});
  // What the outside sees is not written before it is known to be right.
  t.scatter_(0, ct::tensor({70}, "cuda"), 1.0);
  CHECK_ERROR(t.realize(), "index 70", "50 elements");
  CHECK(caller.read(pointer, 2) == Floats{105, 205});
  CHECK(t.to_vector<float>()[1] == 205);
  Tensor leaf = ct::ones({2}, "cuda").set_requires_grad();
  CHECK_ERROR(leaf.data_ptr(), "data_ptr: ", "requires grad");
  const Tensor wrong = t.index_select(0, ct::tensor({99}, "cuda")).realize();
  CHECK_ERROR(wrong.data_ptr(), "index 99");
  Tensor host = ct::tensor({1.0, 2.0});
  static_cast<float*>(host.data_ptr())[1] = 9;
  CHECK(host.to_vector<float>() == Floats{1, 9});
  expect_clean_gpu();
}

TEST_CASE("cuda stream: streams, contexts and pointers that do not fit are refused") {
  CERMET_NEEDS_NVRTC();
  Caller caller;
  CHECK_ERROR(ct::cuda::set_stream(caller.stream(), ct::Device()), "set_stream: ", "CPU");
  CHECK_ERROR(ct::cuda::current_stream(ct::Device::parse("cuda:7")), "current_stream: ", "cuda:7");
  CHECK_ERROR(ct::cuda::set_context(nullptr), "set_context: ", "cuda:0 is in use already");
  Floats host(4);
  const auto from = [&](void* p, ct::SourceLocation here = ct::SourceLocation::current()) {
    return ct::from_blob(p, {4}, ct::DType::F32, ct::cuda::first_gpu, {}, {}, here);
  };
  CHECK_ERROR(from(host.data()), "from_blob: ", "no memory that the driver knows");
  CHECK_ERROR(from(nullptr), "from_blob: ", "null");
  const cuda::PinnedMemory pinned(card(), 16);
  CHECK_ERROR(from(pinned.data()), "from_blob: ", "memory of the host, not of cuda:0");
  if (cuda::available_devices() > 1) {
    Caller other(1);
    CHECK_ERROR(ct::cuda::set_stream(other.stream()), "set_stream: ", "another context", "cuda:0");
    CHECK_ERROR(ct::cuda::StreamGuard(caller.stream(), ct::Device::parse("cuda:1")),
                "StreamGuard: ", "another context", "cuda:1");
    CHECK_ERROR(from(other.array(host)), "from_blob: ", "memory of cuda:1, not of cuda:0");
  }
  CHECK(ct::cuda::current_stream() == ct::runtime::gpu_engine(0).device().stream().handle());

  // A stream that is being captured.
  const Tensor x = ct::ones({8}, "cuda").realize();
  auto* const raw = static_cast<CUstream_st*>(caller.stream());
  const ct::cuda::StreamGuard guard(raw);
  CUgraph_st* graph = nullptr;
  {
    const cuda::Card::Current current(*card());
    must(driver().StreamBeginCapture(raw, cuda::CaptureMode::ThreadLocal));
  }
  CHECK_ERROR((x + 2).realize(), "realize: ", "captured", "cuda:0");
  const cuda::Card::Current current(*card());
  must(driver().StreamEndCapture(raw, &graph));
  driver().GraphDestroy(graph);
  CHECK((x + 2).sum().item<float>() == 24);
  expect_clean_gpu();
}

TEST_CASE("cuda child: a caller that does not wait", "[.]") {
  CERMET_NEEDS_NVRTC();
  constexpr int n = 5000;
  Caller caller;
  void* const y = caller.array(Floats(n));
  const Tensor x = ct::arange(double(n), "cuda").realize();
  const Tensor t = (x * 2 + 1).realize();
  // The current stream is ours, and the kernel on the caller's does not come after it.
  const cuda::Card::Current current(*card());
  try {
    caller.scale(y, t.data_ptr(), 1, n);
    std::printf("read %g\n", double(caller.read(y, n)[n - 1]));
  } catch (const ct::DeviceError& e) {
    std::printf("failed: %s\n", e.what());
  }
}
TEST_CASE("cuda stream: a caller that does not wait for our stream is found out") {
  CERMET_NEEDS_NVRTC();
  if (on_real_gpu()) SKIP("needs a driver that runs work as late as it may");
  const ct::test::Outcome run = run_case("cuda child: a caller that does not wait", "lazy");
  INFO(run.output);
  CHECK_THAT(run.output, ContainsSubstring("fakecuda: "));
  CHECK_THAT(run.output, !ContainsSubstring("read 9999\n"));
}

TEST_CASE("cuda child: a context of their own", "[.]") {
  CERMET_NEEDS_NVRTC();
  const char* file = std::getenv("CERMET_CUDA_DRIVER");
  const ct::ir::DynamicLibrary library(file ? file : "libcuda.so.1");
  const cuda::Driver& d = driver();
  CUctx_st* own = nullptr;
  CUctx_st* popped = nullptr;
  must(library.symbol<cuda::Result(CUctx_st**, unsigned, int)>("cuCtxCreate_v2")(&own, 0, 0));
  CUstream_st* stream = nullptr;
  must(d.StreamCreate(&stream, 0));
  cuda::Address memory = 0;
  must(d.MemAlloc(&memory, 16));
  CHECK_ERROR(ct::cuda::set_context(&memory), "set_context: ", "no context");
  ct::cuda::set_context(own);
  ct::cuda::set_context(own);
  must(d.CtxPopCurrent(&popped));  // none is current
  {
    const ct::cuda::StreamGuard guard(stream);
    Tensor x =
        ct::from_blob(reinterpret_cast<void*>(memory), {4}, ct::DType::F32, ct::cuda::first_gpu);
    x.copy_(ct::tensor({1.0, 2.0, 3.0, 4.0}));
    CHECK((x * 2).realize().to_vector<float>() == Floats{2, 4, 6, 8});
    must(d.CtxGetCurrent(&popped));
    CHECK(popped == nullptr);
  }
  CUctx_st* primary = nullptr;
  must(d.DevicePrimaryCtxRetain(&primary, 0));
  CHECK_ERROR(ct::cuda::set_context(primary), "set_context: ", "in use already");
  must(d.CtxPushCurrent(primary));
  CUstream_st* other = nullptr;
  cuda::Address elsewhere = 0;
  must(d.StreamCreate(&other, 0));
  must(d.MemAlloc(&elsewhere, 16));
  CHECK_ERROR(ct::cuda::set_stream(other), "set_stream: ", "another context than cuda:0");
  CHECK_ERROR(
      ct::from_blob(reinterpret_cast<void*>(elsewhere), {4}, ct::DType::F32, ct::cuda::first_gpu),
      "from_blob: ", "another context");
  CHECK((ct::ones({3}, "cuda") + 1).sum().item<float>() == 6);
  must(d.CtxPopCurrent(&popped));
  expect_clean_gpu();
}
TEST_CASE("cuda stream: a context of the caller's is used as it is") {
  CERMET_NEEDS_NVRTC();
  const ct::test::Outcome run = run_case("cuda child: a context of their own", "random:3");
  INFO(run.output);
  CHECK(run.code == 0);
  CHECK_THAT(run.output, ContainsSubstring("All tests passed"));
}

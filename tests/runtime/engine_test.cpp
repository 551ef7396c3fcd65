#include "runtime/engine.h"

#include <fmt/format.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

#include <unistd.h>

#include "cermet/error.h"
#include "compiler/llvm_module.h"
#include "ir/build.h"
#include "ir/host_array.h"
#include "runtime/host_cpu.h"
#include "support/catch.h"
#include "support/environment.h"
#include "support/paths.h"

using namespace cermet;
using namespace cermet::ir;
using runtime::BufferStorage;
using runtime::Engine;
using runtime::EngineOptions;
using test::EnvironmentVariable;
using test::TemporaryDirectory;

namespace {

EngineOptions without_disk(int threads = 1) {
  EngineOptions options;
  options.threads = threads;
  options.cache_directory.clear();
  return options;
}

Value data_of(Engine& engine, const Shape& shape, double first = 0, double step = 1) {
  runtime::Buffer buffer = engine.allocator().allocate(DType::F32, shape);
  for (int64_t i = 0; i < numel(shape); ++i)
    static_cast<float*>(buffer.data())[i] = float(first + step * double(i));
  return data(std::make_shared<const BufferStorage>(buffer), DType::F32, shape);
}

HostArray run(Engine& engine, const Value& root) {
  const auto result = engine.realize(std::span(&root, 1))[0];
  return HostArray(root->dtype, root->shape, result->host_data());
}

}  // namespace

TEST_CASE("engine: an expression is compiled once, whatever buffers it reads") {
  Engine engine(without_disk());
  for (int i = 0; i < 3; ++i) {
    const Value x = data_of(engine, {5}, i);
    CHECK(run(engine, exp(x) + 1.0).number(0) == double(float(std::exp(float(i)) + 1.0f)));
  }
  CHECK(engine.stats().compiles == 1);
  CHECK(engine.stats().plan_hits == 2);
}

TEST_CASE("engine: a new scalar is a new argument, not a new program") {
  Engine engine(without_disk());
  const Value x = data_of(engine, {100});
  for (int i = 0; i < 20; ++i) run(engine, x * (0.1 + 0.01 * i));
  CHECK(engine.stats().compiles == 1);
  CHECK(engine.stats().plan_misses == 1);
}

TEST_CASE("engine: a new size plans again and compiles nothing") {
  Engine engine(without_disk());
  for (int64_t n = 100; n < 150; ++n) {
    const Value x = data_of(engine, {n, 64}), w = data_of(engine, {64, 32}, 0, 0.001);
    run(engine, maximum(matmul(x, w), zeros_like(matmul(x, w))));
    run(engine, exp(x) / expand(reduce(Combine::Sum, exp(x), Dims{1}, true), x->shape));
  }
  INFO(engine.compiles().size());
  CHECK(engine.stats().compiles <= 4);
  CHECK(engine.stats().plan_misses == 100);
}

TEST_CASE("engine: every compile says what was new") {
  Engine engine(without_disk());
  run(engine, data_of(engine, {8}) + 0.1);
  const Value doubles = cast(data_of(engine, {8}), DType::F64);
  run(engine, doubles + 0.1);
  const auto records = engine.compiles();
  REQUIRE(records.size() >= 2);
  CHECK(records[0].reason == "new kernel");
  CHECK(records[0].milliseconds > 0);
}

TEST_CASE("engine: a computed node is the start of later programs") {
  Engine engine(without_disk());
  const Value x = data_of(engine, {16});
  const Value y = exp(x);
  run(engine, y);
  const auto before = engine.stats().launches;
  CHECK(run(engine, y * 2.0).number(3) == 2 * double(float(std::exp(3.0f))));
  CHECK(engine.stats().launches == before + 1);
  CHECK(y->value() != nullptr);
}

TEST_CASE("engine: code from the disk may have been made for a kernel of another name") {
  const TemporaryDirectory folder;
  EngineOptions options;
  options.cache_directory = folder.path();
  // Two kernels of one word: the second gets a number behind its name, but not when it is alone.
  const auto roots = [](Engine& engine) {
    return std::vector<Value>{neg(data_of(engine, {8})),
                              neg(cast(data_of(engine, {9}), DType::F64))};
  };
  Engine first(options);
  first.realize(roots(first));
  REQUIRE(first.stats().compiles == 2);
  CHECK(first.compiles()[0].kernel != first.compiles()[1].kernel);
  Engine second(options);
  for (const Value& root : roots(second)) CHECK(run(second, root).number(7) == -7);
  CHECK(second.stats().compiles == 0);
  CHECK(second.stats().disk_hits == 2);
}

TEST_CASE("engine: an index out of range is an error that names it, and the engine lives on") {
  Engine engine(without_disk());
  const Value x = data_of(engine, {4});
  const Value bad = constant(DType::I64, {3}, int64_t(7));
  CHECK_THROWS_WITH(run(engine, gather(x, bad, 0)),
                    "gather: index 7 is out of range for an axis of 4 elements");
  CHECK(run(engine, x + 1.0).number(0) == 1);
}

// Kernels of one function are one launch.
TEST_CASE("engine: the update of every parameter is computed, by any number of threads") {
  for (int threads = 1; threads <= 4; ++threads) {
    Engine engine(without_disk(threads));
    std::vector<Value> roots;
    for (int64_t n : {1000, 7, 300000, 8192, 8193, 50, 100001})
      roots.push_back(data_of(engine, {n}, double(n)) * 0.5 + 1.0);
    const auto results = engine.realize(roots);
    CHECK(engine.stats().launches == 1);
    CHECK(engine.stats().compiles == 1);
    for (size_t i = 0; i < roots.size(); ++i) {
      const HostArray got(DType::F32, roots[i]->shape, results[i]->host_data());
      int64_t wrong = 0;
      for (int64_t k = 0; k < got.numel(); ++k)
        wrong += got.number(k) != double(float(got.numel() + k) * 0.5f + 1.0f);
      CHECK(wrong == 0);
    }
  }
}

TEST_CASE("engine: an index out of range in any kernel of a launch is an error") {
  for (int bad = 0; bad < 3; ++bad) {
    Engine engine(without_disk());
    std::vector<Value> roots;
    for (int i = 0; i < 3; ++i) {
      const Value index = cast(data_of(engine, {3 + i}, i == bad ? 40 : 0), DType::I64);
      roots.push_back(gather(data_of(engine, {8 + i}), index, 0));
    }
    CHECK_THROWS_WITH(engine.realize(roots), fmt::format("gather: index 40 is out of range for an "
                                                         "axis of {} elements",
                                                         8 + bad));
    CHECK(engine.stats().compiles == 1);
  }
}

TEST_CASE("engine: memory that cannot be had is an error") {
  Engine engine(without_disk());
  const Value huge = constant(DType::F32, {int64_t(10) * 1000 * 1000 * 1000 * 1000}, 1.5);
  CHECK_THROWS_AS(engine.realize(std::span(&huge, 1)), DeviceError);
  CHECK(run(engine, data_of(engine, {2})).number(1) == 1);
}

TEST_CASE("engine: what may be written over is there until all memory and no error is") {
  EngineOptions options = without_disk();
  options.allocator.live_limit = 1 << 20;
  Engine engine(options);
  const Value w = data_of(engine, {300, 300}, 1, 0.5), at = data_of(engine, {4});
  const auto run = [&](const Value& root, const Value& more) {
    const std::array<Value, 2> roots{root, more};
    const runtime::Request request = runtime::make_request(roots, {}, 0, std::span(&w, 1));
    runtime::Overwriting overwriting;
    overwriting.allowed.resize(request.inputs.size());
    for (const int64_t slot : request.donated) overwriting.allowed[size_t(slot)] = 1;
    std::vector<std::shared_ptr<const Storage>> results(2);
    bool known = false;
    const auto plan = engine.plan_for(request, known);
    try {
      engine.run(*plan, known, request.inputs, results, &overwriting);
      CHECK(overwriting.begun);
    } catch (...) {
      CHECK_FALSE(overwriting.begun);
      throw;
    }
  };
  const auto first = [&] {
    return static_cast<const float*>(w->as<DataAttr>().storage->host_data())[1];
  };
  const Value fresh = w * 2.0;
  const Value large = expand(unsqueeze(at, 1), Shape{4, 100000});
  CHECK_THROWS_AS(run(fresh, exp(large)), DeviceError);
  CHECK(first() == 1.5f);
  const Value out = gather(at, constant(DType::I64, {3}, int64_t(7)), 0);
  CHECK_THROWS_AS(run(fresh, out), Error);
  CHECK(first() == 1.5f);
  run(fresh, exp(at));
  CHECK(first() == 3.0f);
  // Whoever may not be written over is left alone by the same plan.
  const runtime::Request request =
      runtime::make_request(std::span(&fresh, 1), {}, 0, std::span(&w, 1));
  CHECK(request.signature != runtime::make_request(std::span(&fresh, 1)).signature);
  std::vector<std::shared_ptr<const Storage>> result(1);
  bool known = false;
  engine.run(*engine.plan_for(request, known), known, request.inputs, result);
  CHECK(first() == 3.0f);
  CHECK(static_cast<const float*>(result[0]->host_data())[1] == 6.0f);
}

TEST_CASE("engine: results have the same bits for 1 to 8 threads") {
  std::vector<HostArray> first;
  for (int threads = 1; threads <= 8; ++threads) {
    Engine engine(without_disk(threads));
    const Value x = data_of(engine, {300, 1000}, -1, 0.0001);
    const Value roots[] = {reduce(Combine::Sum, x, Dims{0}), reduce(Combine::Sum, x, Dims{1}),
                           reduce(Combine::Sum, x, Dims{0, 1}), exp(sin(x)),
                           matmul(x, transpose(x, 0, 1))};
    const auto results = engine.realize(roots);
    for (size_t i = 0; i < results.size(); ++i) {
      HostArray array(roots[i]->dtype, roots[i]->shape, results[i]->host_data());
      if (threads == 1)
        first.push_back(std::move(array));
      else
        CHECK(array == first[i]);
    }
  }
}

TEST_CASE("engine: several threads realize at once") {
  Engine engine(without_disk(2));
  std::vector<std::thread> threads;
  std::atomic<int> wrong = 0;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < 20; ++i) {
        const Value x = data_of(engine, {1000 + t}, t);
        const HostArray y = run(engine, (x + double(i)) * 2.0);
        wrong += y.number(10) != 2.0 * (t + 10 + i);
      }
    });
  for (std::thread& t : threads) t.join();
  CHECK(wrong == 0);
}

TEST_CASE("engine: what is on disk is not compiled again") {
  TemporaryDirectory directory;
  EngineOptions options = without_disk();
  options.cache_directory = directory.path();
  const auto work = [](Engine& engine) {
    const Value x = data_of(engine, {33, 7});
    return run(engine, tanh(x) + reduce(Combine::Max, x, Dims{1}, true));
  };
  HostArray expected;
  {
    Engine engine(options);
    expected = work(engine);
    CHECK(engine.stats().compiles == 1);
  }
  Engine engine(options);
  CHECK(work(engine) == expected);
  CHECK(engine.stats().compiles == 0);
  CHECK(engine.stats().disk_hits == 1);
}

TEST_CASE("engine: damaged cache entries are compiled again") {
  TemporaryDirectory directory;
  EngineOptions options = without_disk();
  options.cache_directory = directory.path();
  const auto work = [](Engine& engine) { return run(engine, exp(data_of(engine, {9}))); };
  HostArray expected;
  {
    Engine engine(options);
    expected = work(engine);
  }
  for (const auto& entry : std::filesystem::recursive_directory_iterator(directory.path())) {
    if (!entry.is_regular_file()) continue;
    std::fstream file(entry.path(), std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(std::streamoff(entry.file_size() / 2));
    file.write("damaged!", 8);
  }
  Engine engine(options);
  CHECK(work(engine) == expected);
  CHECK(engine.stats().compiles == 1);
}

TEST_CASE("engine: CERMET_DUMP prints the stages of what is compiled, once for each program") {
  const EnvironmentVariable dump("CERMET_DUMP", "graph,kernels");
  Engine engine(without_disk());
  dump.set("graph,nonsense");
  CHECK_THROWS_WITH(
      Engine(without_disk()),
      "CERMET_DUMP: 'nonsense' is no stage; there are graph simplified kernels memory loops "
      "cuda ptx resources llvm asm");
  dump.set(nullptr);

  std::FILE* file = std::tmpfile();
  REQUIRE(file != nullptr);
  std::fflush(stderr);
  const int before = ::dup(STDERR_FILENO);
  ::dup2(::fileno(file), STDERR_FILENO);
  for (int i = 0; i < 2; ++i) run(engine, exp(data_of(engine, {5}, i)));
  std::fflush(stderr);
  ::dup2(before, STDERR_FILENO);
  ::close(before);
  std::rewind(file);
  std::string text(1 << 16, '\0');
  text.resize(std::fread(text.data(), 1, text.size(), file));
  std::fclose(file);
  CHECK(text.starts_with("# stage: graph\ncir 1\ngraph main(%0: f32[5]) {\n  %1 = exp %0"));
  CHECK(text.find("# stage: kernels\n") != std::string::npos);
  CHECK(text.find("# stage: graph", 1) == std::string::npos);
}

TEST_CASE("host cpu: a target survives its text") {
  const compiler::Target t = compiler::target("x86-64-v3");
  CHECK(runtime::parse_target(runtime::print_target(t)) == t);
  CHECK(!runtime::parse_target("nonsense"));
  CHECK(!runtime::parse_target(""));
  CHECK(runtime::host_cpu_identity() == runtime::host_cpu_identity());
}

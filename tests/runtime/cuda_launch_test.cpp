// Modules, launches, graphs, and what is said when they go wrong.
#include "runtime/cuda/graph.h"
#include "runtime/cuda_setup.h"

using namespace cermet::test;
using Catch::Matchers::ContainsSubstring;

namespace {

// For graphs: a stream, numbers, and room for results of them.
struct GraphSetup {
  const TestDriver driver;
  CudaSetup setup{*driver};
  const cuda::Stream& stream = setup.device.stream();
  const cuda::DeviceBuffer x = setup.array(counting(1000)), y = zeros(), z = zeros();

  cuda::DeviceBuffer zeros() { return setup.array(std::vector<float>(1000)); }
};

}  // namespace

TEST_CASE("cuda module: kernels are found by name and say what they cost") {
  const TestDriver driver;
  CudaSetup setup(*driver);
  const cuda::Function scale = setup.module.function("scale");
  CHECK(scale.name() == "scale");
  CHECK(scale.shared_bytes() == 0);
  CHECK(scale.local_bytes() == 0);
  CHECK(scale.max_threads_per_block() == 1024);
  CHECK(message_of<cermet::DeviceError>([&] { setup.module.function("scales"); }) ==
        "cuda:0: a module has no kernel scales");
}

TEST_CASE("cuda module: what the driver cannot load is refused with its reason") {
  const TestDriver driver({{"FAKECUDA_QUIET", "1"}});
  const auto card = cuda::Card::open(*driver, 0, {});
  const std::string text = message_of<cermet::DeviceError>([&] {
    cuda::Module::load(card,
                       ".version 8.0\n.target sm_75\n.address_size 64\n"
                       ".visible .entry k()\n{\n  wrong.u32 %r1, 2;\n}\n");
  });
  CHECK_THAT(text, ContainsSubstring("cuda:0: a module is refused by "));
  CHECK_THAT(text, ContainsSubstring("cuModuleLoadDataEx: "));
  CHECK_THAT(text, ContainsSubstring("wrong"));
  // The bytes of a cubin are recognised; this one is cut off.
  const std::vector<unsigned char> elf = {0x7f, 'E', 'L', 'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0};
  std::vector<unsigned char> image(4096);
  std::copy(elf.begin(), elf.end(), image.begin());
  CHECK_THAT(message_of<cermet::DeviceError>([&] { cuda::Module::load(card, bytes_of(image)); }),
             ContainsSubstring("a module is refused by "));
}

TEST_CASE("cuda module: where the machine code is for another card the PTX is taken") {
  const TestDriver driver({{"FAKECUDA_QUIET", "1"}});
  const auto card = cuda::Card::open(*driver, 0, {});
  // Of no card: the header of a cubin and nothing behind it.
  std::vector<unsigned char> image = {0x7f, 'E', 'L', 'F', 2, 1, 1, 0x41};
  image.resize(4096);
  image[18] = 190;
  CHECK(cuda::Module::load(card, bytes_of(image), ptx_kernels).function("scale").name() == "scale");
  CHECK(cuda::Module::load(card, {}, ptx_kernels).function("scale").name() == "scale");
  CHECK_THROWS_AS(cuda::Module::load(card, bytes_of(image), "nonsense"), cermet::DeviceError);
}

TEST_CASE("cuda launch: a kernel gets its arguments and runs in order") {
  const TestDriver driver;
  CudaSetup setup(*driver);
  for (const int64_t count : {1, 127, 128, 129, 5000}) {
    const std::vector<float> x = counting(count);
    const cuda::DeviceBuffer a = setup.array(x), b = setup.device.allocate(a.bytes());
    setup.scale(b, a, 1.5f);
    setup.add_to(b, a, setup.device.stream());
    std::vector<float> expected = x;
    for (float& value : expected) value = value * 1.5f + value;
    CHECK(setup.values(b) == expected);
  }
}

TEST_CASE("cuda launch: arguments lie at multiples of their sizes") {
  const auto bytes = cuda::Arguments()
                         .add(static_cast<unsigned char>(1))
                         .add(int64_t(2))
                         .add(static_cast<short>(3))
                         .add(4)
                         .bytes()
                         .size();
  CHECK(bytes == 8 + 8 + 4 + 4);
}

TEST_CASE("cuda launch: a grid of no blocks is no launch") {
  const TestDriver driver;
  CudaSetup setup(*driver);
  for (size_t axis = 0; axis < 3; ++axis) {
    cuda::LaunchShape shape;
    shape.grid[axis] = 0;
    setup.module.function("poke").launch(setup.device.stream(), shape, {});
  }
  CHECK(setup.device.card()->launches().count() == 0);
  setup.device.synchronize();
}

TEST_CASE("cuda launch: more than 48 KB of shared memory is asked for") {
  const TestDriver driver;
  CudaSetup setup(*driver);
  for (const int count : {100, 12 << 10, 16 << 10}) {
    std::vector<unsigned> values(size_t(count), 0), expected(values.size());
    for (size_t i = 0; i < values.size(); ++i) values[i] = unsigned(i);
    for (size_t i = 0; i < values.size(); ++i) expected[i] = values[values.size() - 1 - i];
    const cuda::DeviceBuffer x = setup.array(values);
    setup.module.function("reverse").launch(setup.device.stream(),
                                            {.block = {256, 1, 1}, .shared_bytes = 4 * count},
                                            cuda::Arguments().add(x.address()).add(count).bytes());
    CHECK(setup.values<unsigned>(x) == expected);
  }
}

TEST_CASE("cuda launch: a shape that the card cannot have is our mistake") {
  const TestDriver driver;
  CudaSetup setup(*driver);
  const cuda::Function nothing = setup.module.function("nothing");
  const auto refused = [&](const cuda::LaunchShape& shape) {
    return message_of<cermet::InternalError>(
        [&] { nothing.launch(setup.device.stream(), shape, {}); });
  };
  CHECK_THAT(refused({.block = {1025, 1, 1}}),
             ContainsSubstring("nothing<<<(1,1,1), (1025,1,1), 0>>>, but its blocks have at most "
                               "1024 threads"));
  CHECK_THAT(refused({.block = {0, 1, 1}}), ContainsSubstring("nothing<<<(1,1,1), (0,1,1), 0>>>"));
  CHECK_THAT(refused({.grid = {1, 65536, 1}}), ContainsSubstring("65535"));
  CHECK_THAT(refused({.shared_bytes = 1 << 20}),
             ContainsSubstring("kernel nothing wants 1048576 bytes of shared memory, cuda:0 has "));
  const std::vector<std::byte> arguments(5000);
  CHECK_THAT(message_of<cermet::InternalError>(
                 [&] { nothing.launch(setup.device.stream(), {}, arguments); }),
             ContainsSubstring("kernel nothing has 5000 bytes of arguments"));
  nothing.launch(setup.device.stream(), {}, {});
  setup.device.synchronize();
}

TEST_CASE_METHOD(GraphSetup, "cuda graph: what was captured is replayed") {
  const auto work = [&] {
    CHECK(stream.capturing());
    setup.scale(y, x, 2, stream);
    setup.add_to(z, y, stream);
    cuda::copy(x.address(), x.card(), z.address(), z.card(), 4, stream);
  };
  const cuda::Graph graph = cuda::Graph::capture(stream, work);
  CHECK_FALSE(stream.capturing());
  CHECK(setup.values(z)[999] == 0);  // nothing ran
  for (int i = 1; i <= 3; ++i) {
    graph.launch(stream);
    CHECK(setup.values(z)[999] == float(i) * 2 * 999);
  }
}

TEST_CASE_METHOD(GraphSetup, "cuda graph: a capture takes in streams that wait for it") {
  const cuda::Stream other(setup.device.card());
  const cuda::Graph graph = cuda::Graph::capture(stream, [&] {
    other.wait(stream);
    setup.scale(y, x, 2, stream);
    setup.scale(z, x, 3, other);
    stream.wait(other);
    setup.add_to(y, z, stream);
  });
  for (int i = 0; i < 2; ++i) graph.launch(stream);
  CHECK(setup.values(y)[999] == 5 * 999.0f);
}

TEST_CASE_METHOD(GraphSetup,
                 "cuda graph: it is recorded anew, quickly where only arguments differ") {
  cuda::Graph graph = cuda::Graph::capture(stream, [&] { setup.scale(y, x, 2, stream); });
  CHECK(graph.recapture(stream, [&] { setup.scale(y, x, 5, stream); }));
  graph.launch(stream);
  CHECK(setup.values(y)[999] == 5 * 999.0f);
  CHECK_FALSE(graph.recapture(stream, [&] {
    setup.scale(y, x, 7, stream);
    setup.add_to(y, x, stream);
  }));
  graph.launch(stream);
  CHECK(setup.values(y)[999] == 8 * 999.0f);
}

TEST_CASE_METHOD(GraphSetup,
                 "cuda graph: what a capture throws is thrown on, and the stream works on") {
  cuda::Graph graph = cuda::Graph::capture(stream, [&] { setup.scale(y, x, 2, stream); });
  CHECK_THROWS_AS(graph.recapture(stream,
                                  [&] {
                                    setup.scale(y, x, 3, stream);
                                    throw cermet::Error("stop");
                                  }),
                  cermet::Error);
  CHECK_FALSE(stream.capturing());
  graph.launch(stream);
  CHECK(setup.values(y)[999] == 2 * 999.0f);

  // What must not be in a graph: waiting, copies of the host, fresh memory.
  CHECK_THROWS_AS(cuda::Graph::capture(stream, [&] { setup.values(y); }), cermet::InternalError);
  CHECK_THROWS_AS(cuda::Graph::capture(stream, [&] { (void)setup.device.allocate(12345678); }),
                  cermet::InternalError);
  CHECK_THROWS_AS(cuda::Graph::capture(stream, [&] { stream.synchronize(); }), cermet::DeviceError);
  setup.scale(y, x, 4);
  CHECK(setup.values(y)[999] == 4 * 999.0f);
}

TEST_CASE_METHOD(GraphSetup, "cuda graph: cached memory can be had while one is captured") {
  CHECK(setup.device.allocate(4000));
  cuda::DeviceBuffer middle;
  const cuda::Graph graph = cuda::Graph::capture(stream, [&] {
    middle = setup.device.allocate(4000);
    setup.scale(middle, x, 2, stream);
    setup.scale(y, middle, 2, stream);
  });
  graph.launch(stream);
  CHECK(setup.values(y)[999] == 4 * 999.0f);
}

TEST_CASE("cuda errors: a kernel that goes wrong is reported with the last launches") {
  CERMET_NEEDS_FAKE_DRIVER();  // a real card stays lost to this process
  const TestDriver driver({{"FAKECUDA_QUIET", "1"}, {"FAKECUDA_SCHEDULE", "lazy"}});
  CudaSetup setup(*driver);
  const cuda::DeviceBuffer x = setup.array(counting(300)), y = setup.array(counting(300));
  setup.scale(y, x, 2);
  setup.poke_nowhere();
  setup.scale(x, y, 2);
  const std::string text = message_of<cermet::DeviceError>([&] { setup.device.synchronize(); });
  CHECK_THAT(text, ContainsSubstring("cuda:0: cuStreamSynchronize: "));
  CHECK_THAT(text, ContainsSubstring("(CUDA_ERROR_ILLEGAL_ADDRESS, 700); the device is lost to "
                                     "this process; the last launches, last first: "
                                     "scale<<<(3,1,1), (128,1,1), 0>>>, "
                                     "poke<<<(1,1,1), (1,1,1), 0>>>, "
                                     "scale<<<(3,1,1), (128,1,1), 0>>>; with CERMET_CUDA_SYNC=1 "
                                     "the kernel is named"));
  CHECK(setup.device.card()->lost());
  CHECK_THROWS_AS(setup.device.allocate(1 << 22), cermet::DeviceError);
  CHECK_THROWS_AS(setup.values(x), cermet::DeviceError);
  // Handles go without a word.
}

TEST_CASE("cuda errors: with a wait after each launch the kernel is named") {
  CERMET_NEEDS_FAKE_DRIVER();
  const TestDriver driver({{"FAKECUDA_QUIET", "1"}});
  CudaSetup setup(*driver, {.card = {.wait_after_launch = true}});
  const cuda::DeviceBuffer x = setup.array(counting(300)), y = setup.array(counting(300));
  setup.scale(y, x, 2);
  const std::string text = message_of<cermet::DeviceError>([&] { setup.poke_nowhere(); });
  CHECK_THAT(text, ContainsSubstring("; the first of these launches made it, last first: "
                                     "poke<<<(1,1,1), (1,1,1), 0>>>, scale<<<"));
  CHECK_THAT(text, !ContainsSubstring("CERMET_CUDA_SYNC"));
}

TEST_CASE("cuda errors: a graph that goes wrong is named as one") {
  CERMET_NEEDS_FAKE_DRIVER();
  const TestDriver driver({{"FAKECUDA_QUIET", "1"}});
  CudaSetup setup(*driver);
  const cuda::Stream& stream = setup.device.stream();
  const cuda::Graph graph = cuda::Graph::capture(stream, [&] { setup.poke_nowhere(); });
  graph.launch(stream);
  CHECK_THAT(message_of<cermet::DeviceError>([&] { setup.device.synchronize(); }),
             ContainsSubstring("last first: a graph of 1 launches (poke)"));
  // What is refused from now on was never launched.
  message_of<cermet::DeviceError>([&] { graph.launch(stream); });
  CHECK_THAT(message_of<cermet::DeviceError>([&] { setup.device.synchronize(); }),
             !ContainsSubstring("a graph of 1 launches (poke), a graph"));
}

TEST_CASE("cuda errors: the variables of the environment are read") {
  const EnvironmentVariable sync("CERMET_CUDA_SYNC", "1"), exact("CERMET_CUDA_EXACT", "1");
  const auto on = cuda::DeviceOptions::from_environment();
  CHECK(on.card.wait_after_launch);
  CHECK(on.memory.exact);
  sync.set(nullptr);
  exact.set("0");
  const auto off = cuda::DeviceOptions::from_environment();
  CHECK_FALSE(off.card.wait_after_launch);
  CHECK_FALSE(off.memory.exact);
  sync.set("yes");
  CHECK(message_of<cermet::Error>([] { cuda::DeviceOptions::from_environment(); }) ==
        "CERMET_CUDA_SYNC: expected 0 or 1, got \"yes\"");
}

TEST_CASE("cuda errors: any call of the driver may fail, and nothing breaks") {
  CERMET_NEEDS_FAKE_DRIVER();
  for (const char* call :
       {"cuStreamCreate", "cuEventCreate", "cuMemAlloc", "cuMemHostAlloc", "cuModuleLoadDataEx",
        "cuModuleGetFunction", "cuLaunchKernel", "cuMemcpyHtoDAsync", "cuMemcpyDtoHAsync",
        "cuEventRecord", "cuStreamIsCapturing", "cuDevicePrimaryCtxRetain"}) {
    INFO(call);
    const TestDriver driver(
        {{"FAKECUDA_FAIL", std::string(call) + ":999:1"}, {"FAKECUDA_QUIET", "1"}});
    const std::string text = message_of<cermet::DeviceError>([&] {
      CudaSetup setup(*driver);
      const cuda::DeviceBuffer x = setup.array(counting(10));
      setup.scale(x, x, 2);
      setup.values(x);
    });
    CHECK_THAT(text, ContainsSubstring(call));
    CHECK_THAT(text, ContainsSubstring("999"));
    CHECK(driver.counters().live_allocations == 0);
    CHECK(driver.counters().live_streams == 0);
  }
}

// What an NVIDIA GPU takes for the things that gpu_torch.py asks of PyTorch under the same names:
// bench_gpu RESULT.json ELEMENTS MATRIX SECONDS, with ELEMENTS (a power of four) in the arrays of
// what is bound by memory, products of square matrices of MATRIX rows, and SECONDS for each of the
// five times that a case is repeated.

#include <fmt/format.h>

#include <cmath>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include "cermet/cermet.h"
#include "runtime/gpu_engine.h"
#include "tools/bench/bench.h"

namespace ct = cermet;
using ct::DType;
using ct::Tensor;

namespace {

struct Case {
  std::string name, unit;
  double amount;
  std::function<Tensor()> call;
  const char* precision = "highest";  // of products of float32
};

ct::runtime::cuda::Device& card() { return ct::runtime::gpu_engine(0).device(); }

Tensor numbers(const ct::Shape& shape, DType dtype = DType::F32) {
  static uint64_t seed = 0;
  return ct::randn(ct::Key(++seed), shape, "cuda").to(dtype).realize();
}

// The driver's own copy within the card: what memory can do, and the measure of what only moves
// elements.
double copy_seconds(int64_t bytes, double budget) {
  const auto from = card().allocate(size_t(bytes)), to = card().allocate(size_t(bytes));
  const auto copy = [&] {
    ct::runtime::cuda::copy(to.address(), *card().card(), from.address(), *card().card(),
                            size_t(bytes), card().stream());
  };
  return bench::seconds_of(copy, [] { card().synchronize(); }, budget);
}

std::vector<Case> bound_by_memory(int64_t elements) {
  const auto side = int64_t(std::llround(std::sqrt(double(elements))));
  const int64_t columns = std::min<int64_t>(side, 4096), rows = elements / columns;
  const int64_t batch = std::max<int64_t>(1, elements / (1024 * 1024)),
                tile = int64_t(std::llround(std::sqrt(double(elements / batch))));
  const double once = 4.0 * double(elements);  // bytes of an f32 array
  const Tensor x = numbers({rows, columns}), y = numbers({rows, columns}),
               square = numbers({side, side}), half = numbers({side, side}, DType::BF16),
               images = numbers({batch, tile, tile}), w = numbers({columns}),
               b = numbers({columns});
  return {
      {"fused chain", "bytes", 3 * once, [=] { return ((x * 1.5 + y).tanh() * y - x).relu(); }},
      {"softmax", "bytes", 2 * once, [=] { return x.softmax(1); }},
      {"layer norm", "bytes", 2 * once, [=] { return ct::layer_norm(x, 1, w, b); }},
      {"sum over rows (axis 0)", "bytes", once, [=] { return square.sum(0); }},
      {"sum over columns (axis 1)", "bytes", once, [=] { return square.sum(1); }},
      {"sum of all", "bytes", once, [=] { return square.sum(); }},
      {"transpose", "bytes", 2 * once, [=] { return square.t().contiguous(); }},
      {"transpose of bfloat16", "bytes", once, [=] { return half.t().contiguous(); }},
      {"transposes in a batch", "bytes", 2 * once,
       [=] { return images.permute({0, 2, 1}).contiguous(); }},
  };
}

std::vector<Case> products(int64_t n) {
  const double flops = 2.0 * double(n) * double(n) * double(n);
  const Tensor a = numbers({n, n}), b = numbers({n, n}), c = a.to(DType::BF16).realize(),
               d = b.to(DType::BF16).realize();
  return {
      {"matmul bfloat16", "flops", flops, [=] { return ct::matmul(c, d); }},
      {"matmul float32, exact", "flops", flops, [=] { return ct::matmul(a, b); }},
      {"matmul float32 as tf32", "flops", flops, [=] { return ct::matmul(a, b); }, "high"},
  };
}

// Four kernels that do next to nothing: what remains is what the host does for them.
struct HostSeconds {
  double whole = 0, launching = 0;  // with the expressions written anew each time; realize() alone
};

HostSeconds host_seconds(int calls) {
  const Tensor x = numbers({64, 64}), w = numbers({64, 64});
  const auto build = [&] {
    Tensor y = x;
    for (int layer = 0; layer < 4; ++layer) y = ct::relu(ct::matmul(y, w));
    return y;
  };
  HostSeconds out;
  constexpr int warm_up = 10;
  for (int i = 0; i < warm_up + calls; ++i) {
    if (i == warm_up) out = {};
    const double start = bench::now();
    Tensor y = build();
    const double begin = bench::now();
    y.realize();
    const double end = bench::now();
    out.whole += (end - start) / calls, out.launching += (end - begin) / calls;
    card().synchronize();
  }
  return out;
}

void run(const std::string& path, int64_t elements, int64_t matrix, double budget) {
  const auto& facts = card().facts();
  bench::Results results(facts.name);
  const auto add = [&](const std::string& name, const std::string& unit, double amount,
                       double seconds) {
    fmt::print("{:<28} {:10.1f} us\n", name, seconds * 1e6);
    std::fflush(stdout);
    results.add(name, seconds, unit, amount);
  };
  add("copy", "bytes", 8.0 * double(elements), copy_seconds(4 * elements, budget));
  const auto time = [&](const std::vector<Case>& cases) {
    for (const Case& c : cases) {
      ct::set_float32_matmul_precision(c.precision);
      int64_t calls = 0;
      const int64_t before = ct::statistics().launches;
      const auto call = [&] { c.call().realize(), ++calls; };
      const double seconds = bench::seconds_of(call, [] { card().synchronize(); }, budget);
      if (ct::statistics().launches - before < calls)
        throw ct::Error(fmt::format("bench: {} launches no kernel", c.name));
      add(c.name, c.unit, c.amount, seconds);
    }
  };
  time(bound_by_memory(elements));
  time(products(matrix));
  ct::set_float32_matmul_precision("highest");
  const HostSeconds host = host_seconds(budget > 0 ? 500 : 20);
  add("host: four small products", "host", 1, host.whole);
  add("host: launching them again", "host", 1, host.launching);
  results.write(path);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) {
    fmt::print(stderr, "usage: bench_gpu RESULT.json ELEMENTS MATRIX SECONDS\n");
    return 2;
  }
  try {
    run(argv[1], std::atoll(argv[2]), std::atoll(argv[3]), std::atof(argv[4]));
  } catch (const std::exception& error) {
    fmt::print(stderr, "bench_gpu: {}\n", error.what());
    return 1;
  }
  return 0;
}

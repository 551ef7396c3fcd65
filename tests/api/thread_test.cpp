// Several threads that build and realize at once, with tensors of their own and shared ones. Run it
// under ThreadSanitizer as well.

#include <atomic>
#include <functional>
#include <thread>

#include "api/arrays.h"
#include "api/errors.h"
#include "cermet/cermet.h"

namespace ct = cermet;
using ct::DType;
using ct::Tensor;

namespace {

constexpr int threads = 4;

// Runs f(i) in several threads at once; what one throws fails the test.
template <class F>
void in_threads(F f) {
  std::vector<std::thread> all;
  std::vector<std::string> errors(threads);
  std::atomic<int> ready = 0;
  for (int i = 0; i < threads; ++i)
    all.emplace_back([&, i] {
      ++ready;
      while (ready < threads) std::this_thread::yield();
      try {
        f(i);
      } catch (const std::exception& e) {
        errors[size_t(i)] = e.what();
      }
    });
  for (std::thread& t : all) t.join();
  for (const std::string& error : errors) CHECK(error == "");
}

void expect(bool condition, const char* what) {
  if (!condition) throw ct::Error(what);
}

}  // namespace

TEST_CASE("threads: programs of their own, the same and different ones") {
  in_threads([](int i) {
    for (int k = 0; k < 20; ++k) {
      const Tensor x = ct::arange(100.0) + double(k);
      expect(x.sum().item<float>() == 4950 + 100 * float(k), "the same program");
      const Tensor y = (ct::ones({10 + i, 3}) * double(i)).sum();
      expect(y.item<float>() == float(3 * (10 + i) * i), "another program");
    }
  });
}

TEST_CASE("threads: one pending tensor realized by all") {
  for (int k = 0; k < 10; ++k) {
    const Tensor x = ct::arange(1000.0) * double(k), y = x.exp().sum() - x.exp().sum() + x.sum();
    const float expected = 499500.0f * float(k);
    in_threads([&](int i) {
      const Tensor mine = i % 2 ? y : x.sum();
      expect(mine.item<float>() == expected || k > 0, "the sum");
      expect(x[3].item<float>() == 3 * float(k), "an element");
      expect(x.to_vector<float>()[10] == 10 * float(k), "all elements");
    });
  }
}

TEST_CASE("threads: gradients of shared leaves add up") {
  const Tensor w = ct::ones({64}).set_requires_grad();
  in_threads([&](int) {
    for (int k = 0; k < 10; ++k) (w * w).sum().backward();
  });
  CHECK(w.grad()[5].item<float>() == 2.0f * 10 * threads);
}

TEST_CASE("threads: no_grad is each thread's own") {
  const Tensor w = ct::ones({4}).set_requires_grad();
  in_threads([&](int i) {
    for (int k = 0; k < 50; ++k) {
      std::optional<ct::NoGrad> guard;
      if (i % 2) guard.emplace();
      expect((w * 2).requires_grad() == (i % 2 == 0), "requires_grad");
    }
  });
}

TEST_CASE("threads: borrowed memory read by all, and pointers given out") {
  std::vector<double> memory(1000, 1.5);
  const Tensor shared = ct::borrow(memory), own = ct::ones({1000}, DType::F64);
  in_threads([&](int i) {
    for (int k = 0; k < 10; ++k) {
      expect((shared * double(i)).sum().item<double>() == 1500.0 * i, "borrowed");
      expect(own.data<double>()[k] == 1, "data");
      expect((own + shared).mean().item<double>() == 2.5, "both");
      expect(shared.clone().to_vector<double>()[7] == 1.5, "clone");
    }
  });
}

TEST_CASE("threads: in-place updates of tensors that each thread owns") {
  const Tensor base = ct::arange(50.0);
  in_threads([&](int i) {
    Tensor t = base.clone();
    for (int k = 0; k < 20; ++k) {
      t.slice(0, k, k + 2).add_(double(i));
      if (k % 5 == 0) t.realize();
    }
    expect(t.sum().item<float>() == 1225 + 40 * float(i), "the sum of the updates");
  });
  CHECK(base.sum().item<float>() == 1225);
}

TEST_CASE("threads: random numbers of the default generator are all different") {
  ct::manual_seed(11);
  std::vector<float> first(threads * 25);
  in_threads([&](int i) {
    for (int k = 0; k < 25; ++k) first[size_t(i) * 25 + size_t(k)] = ct::rand({3})[0].item<float>();
  });
  std::ranges::sort(first);
  CHECK(std::ranges::adjacent_find(first) == first.end());
}

TEST_CASE("threads: errors of one do not disturb the others") {
  in_threads([](int i) {
    for (int k = 0; k < 20; ++k) {
      const Tensor x = ct::arange(10.0);
      if (i % 2) {
        try {
          x.take(ct::tensor({k + 10})).realize();
          throw ct::InternalError("no error");
        } catch (const ct::Error&) {
        }
      } else {
        expect(x.take(ct::tensor({k % 10})).item<float>() == float(k % 10), "take");
      }
    }
  });
}

namespace {

// A program's own loop: a thread for each round.
void on_own_threads(int count, const std::function<void(int)>& body) {
  std::vector<std::thread> all;
  for (int i = 0; i < count; ++i) all.emplace_back([&, i] { body(i); });
  for (std::thread& t : all) t.join();
}

struct LentLoop {
  LentLoop(const ct::ParallelLoop& loop, int count) { ct::set_parallel_for(loop, count); }
  LentLoop(const LentLoop&) = delete;
  LentLoop& operator=(const LentLoop&) = delete;
  ~LentLoop() { ct::set_parallel_for({}, 0); }
};

}  // namespace

TEST_CASE("threads: kernels run in a loop of the caller, with the same results", "[cpu]") {
  const Tensor x = ct::rand(ct::Key(1), {3000, 700}).realize();
  const auto results = [&] {
    const Tensor sums = (x.exp() + x).sum(1), product = ct::matmul(x.t(), x);
    ct::realize({sums, product});
    std::vector<float> all = sums.to_vector<float>();
    for (const float value : product.to_vector<float>()) all.push_back(value);
    return all;
  };
  const std::vector<float> expected = results();
  const int own = ct::num_threads();
  std::atomic<int> calls = 0;
  for (const int count : {1, 3, 8}) {
    const LentLoop lent(
        [&](int rounds, const std::function<void(int)>& body) {
          ++calls;
          expect(rounds <= count, "more rounds than threads");
          on_own_threads(rounds, body);
        },
        count);
    CHECK(ct::num_threads() == count);
    CHECK(results() == expected);
    CHECK((calls > 0) == (count > 1));
    in_threads([&](int) { expect(results() == expected, "a loop that several threads use"); });
    // What takes a few microseconds stays where it is.
    const int before = calls;
    CHECK(((x[0] * x[1]).exp() + x[2]).sum().item<float>() > 0);
    CHECK(calls == before);
  }
  CHECK(ct::num_threads() == own);
}

TEST_CASE("threads: tensors are computed inside rounds of a loop that computes tensors", "[cpu]") {
  const Tensor x = ct::rand(ct::Key(1), {1000, 700}).realize();
  const std::vector<float> expected = x.exp().sum(1).to_vector<float>();
  const LentLoop lent(on_own_threads, 3);
  std::atomic<int> wrong = 0;
  on_own_threads(3, [&](int) {
    if (x.exp().sum(1).to_vector<float>() != expected) ++wrong;
  });
  CHECK(wrong == 0);
}

TEST_CASE("threads: mistakes in a loop of the caller are told", "[cpu]") {
  const Tensor x = ct::rand(ct::Key(1), {3000, 700}).realize();
  const auto compute = [&] { (x + 0.5).exp().sum(1).realize(); };
  compute();
  {
    const LentLoop lent([](int, const std::function<void(int)>&) { throw ct::Error("no threads"); },
                        2);
    CHECK_THROWS_WITH(compute(), Catch::Matchers::ContainsSubstring("no threads"));
  }
  {
    const LentLoop lent([](int, const std::function<void(int)>&) {}, 2);
    CHECK_THROWS_WITH(compute(), Catch::Matchers::ContainsSubstring("returned before"));
  }
  compute();
  for (const int count : {0, 1025})
    CHECK_THROWS_WITH(ct::set_parallel_for(on_own_threads, count),
                      Catch::Matchers::ContainsSubstring("expected 1 to 1024 threads"));
}

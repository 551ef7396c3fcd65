// Indices out of range on a GPU, which is not waited for: when the error is thrown, by what, and
// what is left.

#include <functional>
#include <thread>

#include "api/chosen_gpu.h"
#include "api/errors.h"
#include "cermet/cermet.h"
#include "runtime/gpu_engine.h"
#include "support/cuda.h"
#include "support/message.h"

namespace ct = cermet;
using ct::Tensor;
using ct::test::expect_clean_gpu, ct::test::gpu_counters, ct::test::on_real_gpu;
using ct::test::message_of;
using Ints = std::vector<int64_t>;

namespace {

Tensor there(std::initializer_list<ct::NestedList> values) { return ct::tensor(values, "cuda"); }
Tensor counting(int64_t n) { return ct::arange(n, "cuda").realize(); }

// Elements of 0, 10, 20, ... at these places.
Tensor looked_up(std::initializer_list<ct::NestedList> places) {
  return (counting(5) * 10).index_select(0, there(places));
}

// Waits for the GPU behind the back of those who would throw.
void let_it_finish() { ct::runtime::gpu_engine(0).device().synchronize(); }

}  // namespace

TEST_CASE("cuda outcome: a realize that looks indices up does not wait") {
  CERMET_NEEDS_NVRTC();
  const Tensor x = counting(5), index = there({3, 4}).realize();
  x.index_select(0, index).realize();  // compiled, with memory of its own
  const uint64_t before = gpu_counters().waits;
  const Tensor y = x.index_select(0, index + 0).realize();
  const Tensor z = (y + 1).realize();
  if (!on_real_gpu()) CHECK(gpu_counters().waits == before);
  CHECK(z.to_vector<int64_t>() == Ints{4, 5});
  expect_clean_gpu();
}

TEST_CASE("cuda outcome: the error is thrown where the host waits, and names the realize") {
  CERMET_NEEDS_NVRTC();
  const Tensor other = counting(3);
  const auto wait_in_turn = [&](int way) {
    switch (way) {
      case 0: ct::cuda::synchronize(); break;
      case 1: (void)other.to_vector<int64_t>(); break;
      case 2: (void)(other + 1).to_string(); break;
      case 3: (void)other.cpu(); break;
      case 4:
        let_it_finish();
        (other * 2).realize();
        break;
      default: FAIL();
    }
  };
  for (int way = 0; way < 5; ++way) {
    INFO("way " << way);
    const Tensor y = looked_up({1, 7});
    y.realize();
    const std::string line = ":" + std::to_string(__LINE__ - 1) + "]";
    CHECK_ERROR(wait_in_turn(way), "gather: index 7 is out of range for an axis of 5 elements",
                line);
    wait_in_turn(way);  // it is thrown once
    // But there are no elements.
    CHECK_ERROR(y.to_vector<int64_t>(), "index 7");
    CHECK_ERROR(y.to_vector<int64_t>(), "index 7");
    CHECK_ERROR(y.cpu(), "index 7");
  }
  CHECK(looked_up({1, 4}).to_vector<int64_t>() == Ints{10, 40});
  expect_clean_gpu();
}

TEST_CASE("cuda outcome: what depends on elements that failed throws the same error") {
  CERMET_NEEDS_NVRTC();
  const Tensor y = looked_up({2, -9}).realize();
  const Tensor early = y + 1, pending = y * 2, deep = early * early;
  // By one of these, whenever it is known.
  int told = 0;
  for (const auto& next : std::vector<std::function<void()>>{
           [&] { early.realize(); }, [&] { deep.realize(); }, [] { ct::cuda::synchronize(); }})
    told += !message_of<ct::Error>(next).empty();
  CHECK(told >= 1);
  ct::cuda::synchronize();  // the dependents are no news
  CHECK_ERROR(pending.to_vector<int64_t>(), "index -9", "5 elements");
  CHECK_ERROR(deep.to_vector<int64_t>(), "index -9");
  CHECK_ERROR(early.sum().item<int64_t>(), "index -9");
  CHECK_ERROR((y + 5).to_vector<int64_t>(), "index -9");
  if (ct::runtime::cuda::available_devices() > 1) CHECK_ERROR(early.to("cuda:1"), "index -9");
  expect_clean_gpu();
}

TEST_CASE("cuda outcome: what is computed in the same program without the mistake is kept") {
  CERMET_NEEDS_NVRTC();
  const Tensor x = counting(4);
  const Tensor plain = x + 1, right = looked_up({0, 3}), wrong = looked_up({5});
  ct::realize({plain, right, wrong});
  const Tensor after = right + plain.slice(0, 0, 2);  // recorded before it is known
  const bool known = !message_of<ct::Error>([&] { after.realize(); }).empty();
  CHECK(known == message_of<ct::Error>([] { ct::cuda::synchronize(); }).empty());
  CHECK(after.to_vector<int64_t>() == Ints{1, 32});
  CHECK(plain.to_vector<int64_t>() == Ints{1, 2, 3, 4});
  CHECK(right.to_vector<int64_t>() == Ints{0, 30});
  CHECK_ERROR(wrong.to_vector<int64_t>(), "index 5");
  expect_clean_gpu();
}

TEST_CASE("cuda outcome: a write that fails is taken back when that is known") {
  CERMET_NEEDS_NVRTC();
  Tensor t = counting(4);
  t.add_(1);
  t.scatter_(0, there({7}), 5);
  t.realize();
  t.mul_(2);  // of what turns out to have failed
  const Tensor view = t.slice(0, 1, 3);
  CHECK_ERROR(ct::cuda::synchronize(), "index 7", "4 elements");
  CHECK(t.to_vector<int64_t>() == Ints{1, 2, 3, 4});
  CHECK(view.to_vector<int64_t>() == Ints{2, 3});
  t.scatter_(0, there({3}), 5).mul_(2);
  CHECK(t.to_vector<int64_t>() == Ints{2, 4, 6, 10});

  // A copy of what failed.
  Tensor copy = counting(4);
  t.scatter_(0, there({9}), 5).realize();
  copy.copy_(t);
  CHECK_ERROR(ct::cuda::synchronize(), "index 9");
  CHECK_ERROR(copy.to_vector<int64_t>(), "index 9");
  CHECK(copy.to_vector<int64_t>() == Ints{0, 1, 2, 3});
  CHECK(t.to_vector<int64_t>() == Ints{2, 4, 6, 10});
  expect_clean_gpu();
}

TEST_CASE("cuda outcome: one round of a replayed program fails, the others do not") {
  CERMET_NEEDS_NVRTC();
  Tensor table = (counting(4) + 10).realize();
  int64_t failed = -1;
  for (int64_t round = 0; round < 12; ++round) {
    try {
      const Tensor place = ct::full({1}, round == 7 ? 44 : round % 4, "cuda").realize();
      const Tensor found = table.index_select(0, place);
      table.scatter_add_(0, place, found * 0 + 1);
      ct::realize({found, table});
      if (round % 3 == 2) ct::cuda::synchronize();
    } catch (const ct::Error& e) {
      CHECK(std::string(e.what()).find("index 44") != std::string::npos);
      CHECK(failed == -1);
      failed = round;
    }
  }
  CHECK(failed == 8);
  // What round 8 wrote before the mistake of round 7 was known is lost with it.
  CHECK(table.to_vector<int64_t>() == Ints{10 + 2, 11 + 3, 12 + 3, 13 + 2});
  expect_clean_gpu();
}

TEST_CASE("cuda outcome: rounds that nobody waits for do not pile up") {
  CERMET_NEEDS_NVRTC();
  if (on_real_gpu()) SKIP("counts memory of the fake driver");
  Tensor table = ct::zeros({1000}, "cuda").realize();
  const Tensor place = there({3}).realize(), one = ct::ones({1}, "cuda").realize();
  uint64_t early = 0;
  for (int round = 0; round < 40; ++round) {
    table.scatter_add_(0, place, one);
    table.realize();
    if (round == 10) early = gpu_counters().live_bytes;
  }
  CHECK(gpu_counters().live_bytes <= early + 10'000);
  CHECK(table.sum().item<float>() == 40);
  expect_clean_gpu();
}

TEST_CASE("cuda outcome: a mistake is told to the thread that made it") {
  CERMET_NEEDS_NVRTC();
  const Tensor mine = counting(3), y = looked_up({1, 8});
  std::thread([&] {
    y.realize();
    std::thread([&] {
      CHECK(mine.to_vector<int64_t>() == Ints{0, 1, 2});
      CHECK_ERROR(y.to_vector<int64_t>(), "index 8");  // unless this one wants just that
    }).join();
    CHECK_THAT(message_of<ct::Error>([] { ct::cuda::synchronize(); }),
               Catch::Matchers::ContainsSubstring("index 8"));
    ct::cuda::synchronize();
  }).join();
  CHECK(mine.to_vector<int64_t>() == Ints{0, 1, 2});
  expect_clean_gpu();
}

TEST_CASE("cuda outcome: a step of training whose index is wrong leaves weights as they were") {
  CERMET_NEEDS_NVRTC();
  Tensor table = ct::ones({4, 2}, "cuda").set_requires_grad();
  const auto step = [&](int64_t word) {
    const Tensor loss = table.index_select(0, there({word})).sum();
    table.set_grad({});
    loss.backward();
    const ct::NoGrad guard;
    table.sub_(table.grad());
    loss.realize();
  };
  step(1);
  step(9);
  CHECK_ERROR(ct::cuda::synchronize(), "index 9");
  CHECK(table.detach().to_vector<float>() == std::vector<float>{1, 1, 0, 0, 1, 1, 1, 1});
  step(2);
  CHECK(table.detach().to_vector<float>() == std::vector<float>{1, 1, 0, 0, 0, 0, 1, 1});
  expect_clean_gpu();
}

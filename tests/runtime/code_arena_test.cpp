#include "runtime/code_arena.h"

#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <fstream>
#include <random>
#include <thread>

#include "cermet/error.h"
#include "support/catch.h"
#include "support/objects.h"

using cermet::runtime::Code;
using cermet::runtime::CodeArena;
using cermet::runtime::CodeBlob;
using cermet::runtime::parse_blob;
using cermet::runtime::relocate_elf;
using cermet::runtime::serialize_blob;
using cermet::test::compile_c;
using cermet::test::sample_object;

namespace {

template <class F>
F* function(const Code& code, const char* name) {
  return reinterpret_cast<F*>(code.entry(name));
}

void check_sample(const Code& code) {
  const double x[6] = {1, 2, 3, 4, 5, 6};
  double expected = 0;
  for (int i = 0; i < 6; ++i) expected += (x[i] * 3.25 + 1.0) * (0.5 + (i & 3));
  CHECK(function<double(const double*, long)>(code, "scaled")(x, 6) == expected);
  CHECK(function<int(int)>(code, "calls_shared")(5) == 18 + 29);
  CHECK(function<int (*(void))(int)>(code, "address_of_shared")()(10) == 93);
  CHECK(function<const char*(int)>(code, "name_of")(2) == std::string("two"));
  CHECK(function<const char*(int)>(code, "name_of")(7) == std::string("three"));
  const int chosen[8] = {111, 1300, 100 ^ 17, 81, 14, 800, 100 | 64, -100};
  for (int i = 0; i < 8; ++i) CHECK(function<int(int, int)>(code, "choose")(i, 100) == chosen[i]);
}

CodeBlob constant_function(int value) {
  // mov eax, value; ret
  CodeBlob blob;
  blob.bytes = {std::byte{0xb8}, {}, {}, {}, {}, std::byte{0xc3}};
  std::memcpy(&blob.bytes[1], &value, 4);
  blob.alignment = 16;
  blob.entries = {{"f", 0}};
  return blob;
}

}  // namespace

TEST_CASE(
    "code arena: a relocated object runs, also after a trip through bytes, at two addresses") {
  CodeArena arena;
  const CodeBlob blob = relocate_elf(sample_object());
  const auto first = arena.place(blob);
  const auto second = arena.place(parse_blob(serialize_blob(blob)));
  CHECK(first->entry("scaled") != second->entry("scaled"));
  check_sample(*first);
  check_sample(*second);
  CHECK(first->find("nothing") == nullptr);
  CHECK_THROWS_AS(first->entry("nothing"), cermet::InternalError);
}

TEST_CASE("code arena: vector code with constants in memory runs") {
  CodeArena arena;
  const auto code = arena.place(relocate_elf(compile_c(
      "void f(float* x, long n) { for (long i = 0; i < n; ++i) x[i] = x[i] * 1.5f - 0.25f; }",
      "-fPIC -O3")));
  std::vector<float> x(37, 2.0f);
  function<void(float*, long)>(*code, "f")(x.data(), 37);
  CHECK(x == std::vector<float>(37, 2.75f));
}

TEST_CASE("code arena: no page is writable and executable") {
  CodeArena arena;
  const auto code = arena.place(constant_function(1));
  const auto address = reinterpret_cast<uintptr_t>(code->entry("f"));
  std::ifstream maps("/proc/self/maps");
  bool found = false;
  for (std::string line; std::getline(maps, line);) {
    uintptr_t begin, end;
    char flags[5];
    REQUIRE(std::sscanf(line.c_str(), "%lx-%lx %4s", &begin, &end, flags) == 3);
    if (address < begin || address >= end) continue;
    found = true;
    CHECK(flags == std::string("r-xp"));
  }
  CHECK(found);
}

TEST_CASE("code arena: many kernels share a slab, and freed pages are used again") {
  CodeArena arena(64 << 10);
  std::vector<std::shared_ptr<const Code>> codes;
  for (int i = 0; i < 100; ++i) codes.push_back(arena.place(constant_function(i)));
  CHECK(arena.stats().slabs <= 7);
  std::mt19937 random(3);
  for (int round = 0; round < 1000; ++round) {
    const size_t i = random() % codes.size();
    codes[i].reset();
    codes[i] = arena.place(constant_function(int(i)));
  }
  CHECK(arena.stats().slabs <= 8);
  for (int i = 0; i < 100; ++i) CHECK(function<int()>(*codes[size_t(i)], "f")() == i);
  codes.clear();
  CHECK(arena.stats().used_bytes == 0);
  CHECK(arena.stats().slabs == 1);
  CodeBlob large = constant_function(7);
  large.bytes.resize(1 << 20);
  const auto code = arena.place(large);
  CHECK(function<int()>(*code, "f")() == 7);
}

TEST_CASE("code arena: code outlives the arena") {
  std::shared_ptr<const Code> code;
  {
    CodeArena arena;
    code = arena.place(constant_function(42));
  }
  CHECK(function<int()>(*code, "f")() == 42);
}

TEST_CASE("code arena: threads may place, run and free at the same time") {
  CodeArena arena(32 << 10);
  std::vector<std::thread> threads;
  std::vector<int> wrong(4);
  for (size_t t = 0; t < wrong.size(); ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < 500; ++i) {
        const auto code = arena.place(constant_function(i));
        wrong[t] += function<int()>(*code, "f")() != i;
      }
    });
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong == std::vector<int>(4, 0));
}

TEST_CASE("code arena: what a forked child places does not touch the parent's code") {
  CodeArena arena;
  const auto code = arena.place(constant_function(1));
  auto freed = arena.place(constant_function(2));
  const pid_t child = fork();
  if (child == 0) {
    freed.reset();
    const auto own = arena.place(constant_function(3));
    _exit(function<int()>(*own, "f")() == 3 && function<int()>(*code, "f")() == 1 ? 0 : 1);
  }
  int status = -1;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK(status == 0);
  CHECK(function<int()>(*freed, "f")() == 2);
}

TEST_CASE("code arena: a blob that reaches outside itself is refused") {
  CodeArena arena;
  CodeBlob blob = constant_function(1);
  blob.entries[0].offset = 6;
  CHECK_THROWS_AS(arena.place(blob), cermet::InternalError);
  blob = constant_function(1);
  blob.addresses = {{0, 0}};
  CHECK_THROWS_AS(arena.place(blob), cermet::InternalError);
  blob = constant_function(1);
  blob.alignment = 3;
  CHECK_THROWS_AS(arena.place(blob), cermet::InternalError);
  CHECK(arena.stats().used_bytes == 0);
}

#include "runtime/elf_object.h"

#include <algorithm>
#include <cstring>
#include <random>

#include "cermet/error.h"
#include "support/catch.h"
#include "support/objects.h"

using Catch::Matchers::ContainsSubstring;
using cermet::DeviceError;
using cermet::runtime::CodeBlob;
using cermet::runtime::parse_blob;
using cermet::runtime::relocate_elf;
using cermet::runtime::serialize_blob;
using cermet::test::compile_c;
using cermet::test::sample_object;

namespace {

// Whether the input is refused in the one way that is allowed; any other exception fails the test.
template <class F>
bool refused(F f) {
  try {
    f();
    return false;
  } catch (const DeviceError&) {
    return true;
  }
}

}  // namespace

TEST_CASE("elf object: global functions become entries inside the blob") {
  const CodeBlob blob = relocate_elf(sample_object());
  std::vector<std::string> names;
  for (const CodeBlob::Entry& entry : blob.entries) {
    names.push_back(entry.name);
    CHECK(entry.offset < blob.bytes.size());
  }
  std::sort(names.begin(), names.end());
  CHECK(names == std::vector<std::string>{"address_of_shared", "calls_shared", "choose", "name_of",
                                          "scaled", "shared"});
  CHECK(blob.alignment >= 16);
  CHECK(blob.addresses.size() >= 4);  // the names, at least
}

TEST_CASE("elf object: what a kernel must not contain is refused by name") {
  CHECK_THROWS_WITH(relocate_elf(compile_c("double sin(double); double f(double x) "
                                           "{ return sin(x) + 1; }")),
                    "elf object: symbol sin is not defined; a kernel must be complete");
  CHECK_THROWS_WITH(relocate_elf(compile_c("static int n; int f(void) { return ++n; }")),
                    "elf object: section .bss is writable data, which a kernel must not have");
  CHECK_THROWS_WITH(relocate_elf(compile_c("int n = 3; int f(void) { return ++n; }")),
                    ContainsSubstring("section .data is writable data"));
  CHECK_THROWS_WITH(relocate_elf(compile_c("static __thread int n; int f(void) { return ++n; }")),
                    ContainsSubstring("is thread-local"));
  CHECK_THROWS_WITH(relocate_elf(compile_c("static const int t[4] = {1, 5, 2, 9};"
                                           "const int* f(void) { return t; }",
                                           "-fno-pic -mcmodel=small")),
                    ContainsSubstring("32-bit absolute address"));
  const char text[] = "no object at all, but long enough to hold the header of one, and then some";
  CHECK_THROWS_WITH(relocate_elf(std::as_bytes(std::span(text))),
                    "elf object: does not begin with \\x7fELF");
  CHECK_THROWS_AS(relocate_elf({}), DeviceError);
  CHECK_THROWS_WITH(relocate_elf(cermet::test::read_bytes("/proc/self/exe")),
                    ContainsSubstring("expected a relocatable one"));
}

TEST_CASE("elf object: an object cut off at any byte is refused") {
  const std::vector<std::byte>& object = sample_object();
  int accepted = 0;
  for (size_t length = 0; length < object.size(); ++length) {
    // A copy of its own, so that AddressSanitizer sees a read past the end.
    const std::vector<std::byte> part(object.begin(), object.begin() + ptrdiff_t(length));
    accepted += !refused([&] { relocate_elf(part); });
  }
  CHECK(accepted == 0);  // the section table is at the end
}

TEST_CASE("elf object: damaged objects are refused or give a blob within its bounds") {
  const std::vector<std::byte>& object = sample_object();
  const auto seed = GENERATE(1u, 2u, 3u);
  CAPTURE(seed);
  std::mt19937 random(seed);
  for (int round = 0; round < 4000; ++round) {
    std::vector<std::byte> damaged = object;
    const int flips = 1 + int(random() % 4);
    for (int i = 0; i < flips; ++i)
      damaged[random() % damaged.size()] ^= std::byte(1u << (random() % 8));
    if (round % 3 == 0) {  // large numbers in the middle of tables
      const size_t at = random() % (damaged.size() - 8);
      const uint64_t number = round % 2 ? ~uint64_t(random() % 64) : uint64_t(1) << (random() % 64);
      std::memcpy(&damaged[at], &number, 8);
    }
    refused([&] {
      const CodeBlob blob = relocate_elf(damaged);
      for (const CodeBlob::Entry& entry : blob.entries)
        if (entry.offset >= blob.bytes.size()) FAIL("an entry is outside");
      for (const CodeBlob::Address& address : blob.addresses)
        if (address.offset + 8 > blob.bytes.size() || address.target > blob.bytes.size())
          FAIL("an address is outside");
    });
  }
}

TEST_CASE("code blob: serialize and parse are inverse, and damage is refused") {
  const CodeBlob blob = relocate_elf(sample_object());
  const std::vector<std::byte> bytes = serialize_blob(blob);
  CHECK(parse_blob(bytes) == blob);
  int accepted = 0;
  for (size_t length = 0; length < bytes.size(); ++length) {
    const std::vector<std::byte> part(bytes.begin(), bytes.begin() + ptrdiff_t(length));
    accepted += !refused([&] { parse_blob(part); });
  }
  CHECK(accepted == 0);
  std::vector<std::byte> longer = bytes;
  longer.push_back(std::byte{0});
  CHECK_THROWS_WITH(parse_blob(longer), "elf object: code blob has 1 bytes too many");
  std::mt19937 random(7);
  for (int round = 0; round < 4000; ++round) {
    std::vector<std::byte> damaged = bytes;
    damaged[random() % std::min<size_t>(damaged.size(), 400)] ^= std::byte(1u << (random() % 8));
    refused([&] { parse_blob(damaged); });
  }
}

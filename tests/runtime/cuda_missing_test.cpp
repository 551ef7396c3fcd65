// What happens on machines without a driver, or with one that cannot be used.
#include "cermet/error.h"
#include "runtime/cuda/driver.h"
#include "support/catch.h"
#include "support/message.h"

using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::StartsWith;

namespace {

std::string message_of(const char* file) {
  return cermet::test::message_of<cermet::DeviceError>(
      [&] { cermet::runtime::cuda::open_driver(file); });
}

}  // namespace

TEST_CASE("cuda driver: a missing one is named") {
  CHECK_THAT(message_of("libcuda-nowhere.so.1"),
             StartsWith("cuda requested, but libcuda-nowhere.so.1 was not found: "));
  CHECK_THAT(message_of("libcuda-nowhere.so.1"), ContainsSubstring("No such file"));
}

TEST_CASE("cuda driver: a library that is none is refused") {
  CHECK(message_of("libm.so.6") == "cuda requested, but libm.so.6 is no CUDA driver");
}

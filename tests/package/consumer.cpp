// A user's program: it compiles a kernel, so the installed LLVM module has to be found too.

#include <cermet/cermet.h>

#include <cstdio>
#include <cstdlib>
#include <exception>

namespace {

float compute() {
  const cermet::Tensor x = cermet::tensor({{1.0, 2.0}, {3.0, 4.0}});
  return (x * x + 1.0).sum().item<float>();
}

// The library outlives the static objects of its user: what was compiled still runs, and what was
// not is an error, since LLVM may be gone by then.
struct Farewell {
  ~Farewell() {
    if (compute() != 34.0f) fail("a wrong result");
    try {
      const cermet::Tensor x = cermet::ones({3}).set_requires_grad();
      (x * x * x).sum().backward();
      if (x.grad().sum().item<float>() != 9.0f) fail("a wrong gradient");
    } catch (const cermet::DeviceError&) {
    } catch (const std::exception& e) {
      fail(e.what());
    }
  }
  static void fail(const char* what) {
    std::fprintf(stderr, "in a static destructor: %s\n", what);
    std::_Exit(1);
  }
} farewell;

}  // namespace

int main() {
  const cermet::Tensor x = cermet::tensor({{1.0, 2.0}, {3.0, 4.0}});
  const cermet::Tensor y = (x * x + 1.0).sum();
  std::puts(y.to_string().c_str());
  return y.item<float>() == 34.0f && compute() == 34.0f ? 0 : 1;
}

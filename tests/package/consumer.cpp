// A user's program: it compiles a kernel, so the installed LLVM module has to be found too.

#include <cermet/cermet.h>

#include <cstdio>

int main() {
  const cermet::Tensor x = cermet::tensor({{1.0, 2.0}, {3.0, 4.0}});
  const cermet::Tensor y = (x * x + 1.0).sum();
  std::puts(y.to_string().c_str());
  return y.item<float>() == 34.0f ? 0 : 1;
}

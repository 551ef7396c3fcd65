#pragma once
// Objects for the tests of the loader: C compiled by the host's g++ as the kernels are, without
// libraries.

#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <vector>

#include "support/paths.h"

namespace cermet::test {

inline std::vector<std::byte> read_bytes(const std::filesystem::path& path) {
  const std::string text = read_text(path);
  const auto* first = reinterpret_cast<const std::byte*>(text.data());
  return {first, first + text.size()};
}

inline std::vector<std::byte> compile_c(const std::string& source,
                                        const std::string& flags = "-fPIC") {
  const TemporaryDirectory directory;
  const std::string c = (directory.path() / "kernel.c").string();
  const std::string o = (directory.path() / "kernel.o").string();
  write_text(c, source);
  const std::string command =
      "g++ -x c -c -O2 -ffreestanding -fno-stack-protector " + flags + " " + c + " -o " + o;
  if (std::system(command.c_str()) != 0) throw std::runtime_error("failed: " + command);
  return read_bytes(o);
}

// Uses what kernels use: calls between functions, constants, a table of addresses, a switch.
inline const std::vector<std::byte>& sample_object() {
  static const std::vector<std::byte> object = compile_c(R"(
    static const double table[4] = {0.5, 1.5, 2.5, 3.5};
    __attribute__((noinline)) static double helper(double x) { return x * 3.25 + 1.0; }
    double scaled(const double* x, long n) {
      double sum = 0;
      for (long i = 0; i < n; ++i) sum += helper(x[i]) * table[i & 3];
      return sum;
    }
    __attribute__((noinline)) int shared(int x) { return x * x - 7; }
    int calls_shared(int x) { return shared(x) + shared(x + 1); }
    int (*address_of_shared(void))(int) { return shared; }
    const char* name_of(int i) {
      static const char* const names[] = {"zero", "one", "two", "three"};
      return names[i & 3];
    }
    int choose(int i, int x) {
      switch (i) {
        case 0: return x + 11; case 1: return x * 13; case 2: return x ^ 17; case 3: return x - 19;
        case 4: return x / 7; case 5: return x << 3; case 6: return x | 64; default: return -x;
      }
    }
  )");
  return object;
}

}  // namespace cermet::test

#pragma once
// Golden files: what NumPy, PyTorch and mpmath computed. tests/data/make_reference.py writes them
// and documents the format.

#include <map>
#include <string>
#include <vector>

#include "ir/host_array.h"

namespace cermet::test {

struct GoldenCase {
  int line = 0;  // in the file
  std::string op;
  std::vector<ir::HostArray> operands;
  ir::HostArray expected;
  std::map<std::string, Dims> attributes;

  const Dims& ints(const std::string& name) const;  // throws std::out_of_range
  int64_t integer(const std::string& name) const;   // likewise
  int64_t integer(const std::string& name, int64_t otherwise) const;
};

// The cases of tests/data/<name>.golden. Throws std::runtime_error that names file and line if it
// cannot be read.
std::vector<GoldenCase> read_golden(const std::string& name);

}  // namespace cermet::test

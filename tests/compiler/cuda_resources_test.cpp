#include "compiler/cuda/resources.h"

#include "compiler/cuda/resources_table.h"
#include "support/catch.h"

using cermet::compiler::CudaResources;
using cermet::compiler::parse_resources;

namespace {

// As CUDA 13 prints it for sm_75, where it also names constant memory.
constexpr const char* log_of_13 = R"(ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function 'two' for 'sm_75'
ptxas info    : Function properties for two
ptxas         .     160 bytes stack frame, 24 bytes spill stores, 28 bytes spill loads
ptxas info    : Used 56 registers, used 1 barriers, 160 bytes cumulative stack size, 1024 bytes smem, 372 bytes cmem[0], 8 bytes cmem[2]
ptxas info    : Compile time = 7.871 ms
ptxas info    : Compiling entry function 'one' for 'sm_75'
ptxas info    : Function properties for one
ptxas         .     0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 17 registers, used 0 barriers, 376 bytes cmem[0]
ptxas info    : Compile time = 9.389 ms
)";

// As CUDA 12.0 prints it.
constexpr const char* log_of_12 = R"(ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function 'one' for 'sm_90'
ptxas info    : Function properties for one
    0 bytes stack frame, 4 bytes spill stores, 8 bytes spill loads
ptxas info    : Used 255 registers, 48 bytes smem
)";

}  // namespace

TEST_CASE("cuda resources: the assembler's report is read") {
  std::string rest;
  CHECK(parse_resources(log_of_13, &rest) ==
        std::vector<CudaResources>{{.kernel = "one", .registers = 17, .constant_bytes = 376},
                                   {.kernel = "two",
                                    .registers = 56,
                                    .barriers = 1,
                                    .stack_bytes = 160,
                                    .spill_store_bytes = 24,
                                    .spill_load_bytes = 28,
                                    .shared_bytes = 1024,
                                    .constant_bytes = 380}});
  CHECK(rest.empty());
}

TEST_CASE("cuda resources: older reports are read") {
  std::string rest;
  CHECK(parse_resources(log_of_12, &rest) == std::vector<CudaResources>{{.kernel = "one",
                                                                         .registers = 255,
                                                                         .spill_store_bytes = 4,
                                                                         .spill_load_bytes = 8,
                                                                         .shared_bytes = 48}});
  CHECK(rest.empty());
}

TEST_CASE("cuda resources: other lines are passed on") {
  std::string rest;
  const std::string warning = "ptxas warning : Value of threads per SM is out of range\n";
  CHECK(parse_resources(warning + log_of_13 + "kernels.cu(3): warning: 12 registers\n", &rest)
            .size() == 2);
  CHECK(rest == warning + "kernels.cu(3): warning: 12 registers\n");
  rest.clear();
  CHECK(parse_resources("", &rest).empty());
  CHECK(parse_resources("no report at all", &rest).empty());
  CHECK(rest == "no report at all\n");
}

TEST_CASE("cuda resources: a table for people") {
  const std::vector<cermet::compiler::CudaLaunchCost> kernels = {
      {{.kernel = "map_0", .registers = 32}, 256, 0},
      {{.kernel = "a_long_name",
        .registers = 168,
        .barriers = 1,
        .spill_store_bytes = 8,
        .spill_load_bytes = 4,
        .shared_bytes = 1024},
       128,
       65536},
  };
  CHECK(cermet::compiler::resources_table({90}, kernels) ==
        "kernel       threads  registers  spills   stack  shared  blocks  occupancy  limited by\n"
        "map_0            256         32       0       0       0       8       100%  threads\n"
        "a_long_name      128        168      12       0   66560       3        19%  registers\n");
}

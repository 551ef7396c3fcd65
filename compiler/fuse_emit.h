#pragma once
// Writing the kernel of a group, and tidying its index space.

#include "compiler/fuse_plan.h"

namespace cermet::compiler {

// A kernel whose stores still have general maps.
struct Draft {
  Kernel kernel;
  std::vector<ir::ViewMap> store_maps;
  bool one_inner = false;  // do not divide the inner axis
};

Draft emit_group(Plan& plan, int32_t group);

// Divides axes where that turns a map with divisions into a strided one, orders the outer axes as
// the first store lies in memory, and merges neighbours that are one run in every map. Then the
// stores have strided maps.
Kernel tidy_space(Draft draft);

// "row_max_exp_sum_div": the kind of kernel and its first ops, at most 60 characters.
std::string kernel_name(const Kernel& kernel);

// Orders kernels so that buffers are written before they are read, and few temporaries are alive at
// a time; `numbers` are the nodes that the kernels were made for, which decide otherwise.
void order_kernels(std::vector<Kernel>& kernels, std::span<const int32_t> numbers,
                   const std::vector<KernelBuffer>& buffers);

// Gives each kernel its name, and equal names numbers.
void name_kernels(std::span<Kernel> kernels);

}  // namespace cermet::compiler

#pragma once
// The API's descriptions of graph nodes, to and from the work that the nodes do.

#include "fakecuda/abi.h"
#include "fakecuda/work.h"

namespace cermet::fakecuda {

// Failure 1 if the description makes no sense, 801 for what the fake driver has not got.
KernelWork kernel_work(const CUDA_KERNEL_NODE_PARAMS* parameters);
CopyWork copy_work(const CUDA_MEMCPY3D* parameters);
FillWork fill_work(const CUDA_MEMSET_NODE_PARAMS* parameters);

// Failure 1 if the work is of another kind. The pointers to a kernel's parameters live until the
// thread asks again.
CUDA_KERNEL_NODE_PARAMS kernel_parameters(const Work& work);
CUDA_MEMCPY3D copy_parameters(const Work& work);
CUDA_MEMSET_NODE_PARAMS fill_parameters(const Work& work);

}  // namespace cermet::fakecuda

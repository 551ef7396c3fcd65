#pragma once
// What the devices can do, by compute capability.

#include "fakecuda/abi.h"

namespace cermet::fakecuda {

struct Properties {
  int compute_capability;
  const char* name;
  int multiprocessors;
  int threads_per_multiprocessor;
  int blocks_per_multiprocessor;
  int shared_per_multiprocessor;
  int shared_per_block_optin;
  int reserved_shared_per_block;
  int l2_bytes;
  int clock_khz;
  int memory_clock_khz;
  int memory_bus_bits;
  int single_to_double;  // how many times faster f32 is than f64
  int threads_per_block = 1024;
  int blocks_of_grid = 2147483647;  // along x
  int parameter_bytes = 0;          // of a kernel; 0: as the version of its PTX says
};
inline constexpr int default_shared_per_block = 48 * 1024;
inline constexpr int registers_per_multiprocessor = 64 * 1024;

// The most that the parameters of a kernel can take, by the version of its PTX times ten.
constexpr int parameter_bytes_of(const Properties& properties, int ptx_version) {
  if (properties.parameter_bytes > 0) return properties.parameter_bytes;
  return ptx_version < 81 ? 4096 : 32764;
}

// Null for a compute capability that is not in the table.
const Properties* find_properties(int compute_capability);

// Failure if nobody has thought about the attribute.
int attribute_value(const Properties& properties, int ordinal, CUdevice_attribute attribute);

}  // namespace cermet::fakecuda

// One real card for each compute capability. Limits of the architecture are from the table
// "Technical Specifications per Compute Capability" of the CUDA programming guide; sizes and clocks
// of the card from NVIDIA's data sheets.

#include "fakecuda/properties.h"

#include "fakecuda/failure.h"

namespace cermet::fakecuda {
namespace {

constexpr int KiB = 1024, MiB = 1024 * 1024;

// clang-format off
//   cc   name                     SMs threads blocks shared     opt-in  reserved   L2        clock    memory    bus  f64
constexpr Properties table[] = {
    {75,  "Fake Tesla T4",          40, 1024, 16,  64 * KiB,  64 * KiB,     0,   4 * MiB, 1590000,  5001000,  256, 32},
    {80,  "Fake A100-SXM4-40GB",   108, 2048, 32, 164 * KiB, 163 * KiB, 1 * KiB,  40 * MiB, 1410000,  1215000, 5120,  2},
    {86,  "Fake GeForce RTX 3090",  82, 1536, 16, 100 * KiB,  99 * KiB, 1 * KiB,   6 * MiB, 1695000,  9751000,  384, 64},
    {89,  "Fake GeForce RTX 4090", 128, 1536, 24, 100 * KiB,  99 * KiB, 1 * KiB,  72 * MiB, 2520000, 10501000,  384, 64},
    {90,  "Fake H100 80GB HBM3",   132, 2048, 32, 228 * KiB, 227 * KiB, 1 * KiB,  50 * MiB, 1980000,  2619000, 5120,  2},
    {100, "Fake B200",             148, 2048, 32, 228 * KiB, 227 * KiB, 1 * KiB, 126 * MiB, 1965000,  3996000, 8192,  2},
    {120, "Fake GeForce RTX 5090", 170, 1536, 24, 100 * KiB,  99 * KiB, 1 * KiB,  96 * MiB, 2407000, 14001000,  512, 64},
};
// clang-format on

}  // namespace

const Properties* find_properties(int compute_capability) {
  for (const Properties& row : table) {
    if (row.compute_capability == compute_capability) return &row;
  }
  return nullptr;
}

int attribute_value(const Properties& p, int ordinal, CUdevice_attribute attribute) {
  switch (attribute) {
#define ATTRIBUTE(name, number, value) \
  case CU_DEVICE_ATTRIBUTE_##name: return value;
#include "fakecuda/attributes.def"
#undef ATTRIBUTE
  }
  fail(CUDA_ERROR_INVALID_VALUE, "an attribute that attributes.def does not list");
}

}  // namespace cermet::fakecuda

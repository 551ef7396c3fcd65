// The census of cubins, on kernels whose instructions follow from their source.
#include "support/cubin.h"

#include "support/cuda.h"

using cermet::compiler::compile_cuda;
using cermet::test::read_cubin;
using cermet::test::SassCensus;

namespace {

SassCensus census(const std::string& source, int arch) {
  const auto object = compile_cuda(source, {.arch = {arch}});
  const auto kernels = read_cubin(object.cubin);
  REQUIRE(kernels.size() == 1);
  CHECK(kernels.begin()->first == "k");
  return kernels.begin()->second;
}

std::string kernel(const std::string& parameters, const std::string& body) {
  return "extern \"C\" __global__ void k(" + parameters + ") { const int i = threadIdx.x;" + body +
         "}";
}

}  // namespace

TEST_CASE("cubin: accesses of global memory are counted by their width") {
  CERMET_NEEDS_NVRTC();
  for (const int arch : {75, 80, 86, 89, 90, 100, 120}) {
    INFO("sm_" << arch);
    const auto copies = [&](const std::string& type) {
      return census(kernel("const " + type + "* x, " + type + "* y", "y[i] = x[i];"), arch);
    };
    for (const auto& [type, bits] : std::map<std::string, std::string>{{"unsigned char", "8"},
                                                                       {"unsigned short", "16"},
                                                                       {"float", "32"},
                                                                       {"float2", "64"},
                                                                       {"float4", "128"}}) {
      const SassCensus found = copies(type);
      INFO(type << ": " << found.text());
      CHECK(found["LDG." + bits] == 1);
      CHECK(found["STG." + bits] == 1);
      CHECK(found["LDL.32"] + found["STL.32"] == 0);
      CHECK(found.instructions > 4);
      CHECK(found.instructions < 40);
    }
  }
}

TEST_CASE("cubin: shared memory, barriers, shuffles and arithmetic are counted") {
  CERMET_NEEDS_NVRTC();
  for (const int arch : {75, 80, 90, 120}) {
    INFO("sm_" << arch);
    const SassCensus shared = census(kernel("float4* x",
                                            "__shared__ float4 s[128]; s[i] = x[i];"
                                            "__syncthreads(); x[i] = s[127 - i];"),
                                     arch);
    INFO(shared.text());
    CHECK(shared["STS.128"] == 1);
    CHECK(shared["LDS.128"] == 1);
    CHECK(shared["BAR"] == 1);

    const SassCensus math = census(kernel("float* x",
                                          "float a = x[i]; a = __fmaf_rn(a, x[i + 32], x[i + 64]);"
                                          "a = __fmaf_rn(a, x[i + 96], a);"
                                          "x[i] = a + __shfl_xor_sync(~0u, a, 16);"),
                                   arch);
    INFO(math.text());
    CHECK(math["FFMA"] == 2);
    CHECK(math["FADD"] == 1);
    CHECK(math["SHFL"] == 1);
    CHECK(math["LDG.32"] == 4);
  }
}

TEST_CASE("cubin: an array that is indexed lies in local memory, and that is seen") {
  CERMET_NEEDS_NVRTC();
  for (const int arch : {75, 80, 90, 120}) {
    INFO("sm_" << arch);
    const SassCensus found = census(
        kernel("float* x, int n",
               "volatile float l[40]; for (int j = 0; j < 40; ++j) l[j] = x[j * n]; x[i] = l[n];"),
        arch);
    INFO(found.text());
    CHECK(found["LDL.32"] == 1);
    CHECK(found["STL.32"] + 2 * found["STL.64"] + 4 * found["STL.128"] == 40);
  }
}

TEST_CASE("cubin: tensor cores, ldmatrix and asynchronous copies are counted") {
  CERMET_NEEDS_NVRTC();
  const std::string source = kernel("const float4* x, float* y", R"(
    __shared__ __align__(16) float4 s[64];
    unsigned at = (unsigned)__cvta_generic_to_shared(&s[i]);
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" :: "r"(at), "l"(x + i));
    asm volatile("cp.async.wait_all;");
    __syncthreads();
    unsigned a[4], b[2];
    float c[4] = {0, 0, 0, 0};
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
      : "=r"(a[0]), "=r"(a[1]), "=r"(a[2]), "=r"(a[3]) : "r"(at));
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0,%1}, [%2];"
      : "=r"(b[0]), "=r"(b[1]) : "r"(at));
    for (int j = 0; j < 3; ++j)
      asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
        "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
    y[i] = c[0] + c[1] + c[2] + c[3];)");
  for (const int arch : {80, 86, 89, 90, 120}) {
    const SassCensus found = census(source, arch);
    INFO("sm_" << arch << ": " << found.text());
    CHECK(found["HMMA"] == 3);
    CHECK(found["LDSM"] == 2);
    CHECK(found["LDGSTS"] == 1);
  }
}

TEST_CASE("cubin: what is none is refused") {
  CHECK_THROWS_AS(read_cubin({}), std::runtime_error);
  const std::vector<std::byte> zeros(4096);
  CHECK_THROWS_AS(read_cubin(zeros), std::runtime_error);
}

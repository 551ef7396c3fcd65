#include "compiler/cuda/nvrtc.h"

#include <filesystem>

#include "support/cuda.h"
#include "support/environment.h"
#include "support/message.h"
#include "support/paths.h"

using Catch::Matchers::ContainsSubstring;
using cermet::compiler::compile_cuda;
using cermet::compiler::CudaArch;
using cermet::compiler::CudaObject;
using cermet::compiler::CudaOptions;
using cermet::compiler::NvrtcPlaces;
using cermet::compiler::NvrtcVersion;
using cermet::test::EnvironmentVariable;
using cermet::test::message_of;

namespace {

const std::string scale = R"(
extern "C" __global__ void __launch_bounds__(256) scale(const float4* __restrict__ x, float4* y,
                                                        long n) {
  const long i = blockIdx.x * 256l + threadIdx.x;
  if (i >= n) return;
  float4 v = x[i];
  v.x = v.x * v.y + v.z;
  v.y = v.y / 3.0f;
  v.z = sqrtf(v.z);
  y[i] = v;
}
extern "C" __global__ void reverse(float* x) {
  __shared__ float s[256];
  s[threadIdx.x] = x[threadIdx.x];
  __syncthreads();
  x[threadIdx.x] = s[255 - threadIdx.x];
}
)";

size_t position(const NvrtcPlaces& places, const std::filesystem::path& path) {
  return size_t(std::find(places.files.begin(), places.files.end(), path) - places.files.begin());
}

}  // namespace

TEST_CASE("cuda arch: names are read and written") {
  CHECK(CudaArch::parse("sm_90") == CudaArch{90, '\0'});
  CHECK(CudaArch::parse("sm_90a") == CudaArch{90, 'a'});
  CHECK(CudaArch::parse("sm_120f") == CudaArch{120, 'f'});
  for (const char* name : {"sm_75", "sm_100a", "sm_121f"})
    CHECK(to_string(CudaArch::parse(name)) == name);
  for (const char* name : {"", "sm_", "sm_9", "sm_90b", "sm_90aa", "90", "compute_90", "sm_-80",
                           "sm_9000", "SM_90", "sm_ 90"})
    CHECK(message_of<cermet::Error>([&] { CudaArch::parse(name); }) ==
          "cuda: '" + std::string(name) +
              "' is no GPU architecture, one is written as sm_90 or sm_90a");
}

TEST_CASE("nvrtc: a program becomes machine code, PTX and a bill of resources") {
  CERMET_NEEDS_NVRTC();
  for (const char* arch : {"sm_75", "sm_80", "sm_90", "sm_120"}) {
    INFO(arch);
    const CudaObject object = compile_cuda(scale, {.arch = CudaArch::parse(arch)});
    CHECK(object.target == arch);
    CHECK(object.log.empty());
    CHECK_THAT(object.ptx, ContainsSubstring(std::string(".target ") + arch));
    REQUIRE(object.cubin.size() > 4);
    CHECK(std::string(reinterpret_cast<const char*>(object.cubin.data()), 4) == "\177ELF");
    REQUIRE(object.kernels.size() == 2);
    CHECK(object.kernels[0].kernel == "reverse");
    CHECK(object.kernels[0].shared_bytes == 1024);
    CHECK(object.kernels[0].barriers == 1);
    CHECK(object.kernels[1].kernel == "scale");
    CHECK(object.kernels[1].registers > 8);
    CHECK(object.kernels[1].registers < 64);
    CHECK(object.kernels[1].spill_store_bytes == 0);
    CHECK(object.kernels[1].stack_bytes == 0);
  }
}

TEST_CASE("nvrtc: arithmetic is exact unless fast is asked for") {
  CERMET_NEEDS_NVRTC();
  const std::string exact = compile_cuda(scale, {.arch = {80}, .cubin = false}).ptx;
  CHECK_THAT(exact, ContainsSubstring("div.rn.f32"));
  CHECK_THAT(exact, ContainsSubstring("sqrt.rn.f32"));
  CHECK_THAT(exact, !ContainsSubstring("fma.rn"));
  CHECK_THAT(exact, !ContainsSubstring("ftz"));
  const std::string fast = compile_cuda(scale, {.arch = {80}, .fast = true, .cubin = false}).ptx;
  CHECK_THAT(fast, ContainsSubstring("fma.rn.ftz.f32"));
  CHECK_THAT(fast, ContainsSubstring("sqrt.approx.ftz.f32"));
  CHECK_THAT(fast, !ContainsSubstring("div.rn"));
}

TEST_CASE("nvrtc: without machine code only PTX is made") {
  CERMET_NEEDS_NVRTC();
  const CudaObject object = compile_cuda(scale, {.arch = {90}, .cubin = false});
  CHECK(object.target == "compute_90");
  CHECK(object.cubin.empty());
  CHECK(object.kernels.empty());
  CHECK_THAT(object.ptx, ContainsSubstring(".visible .entry scale("));
}

TEST_CASE("nvrtc: equal programs give equal bytes") {
  CERMET_NEEDS_NVRTC();
  const CudaObject first = compile_cuda(scale, {.arch = {90}});
  const CudaObject second = compile_cuda(scale, {.arch = {90}});
  CHECK(first.ptx == second.ptx);
  CHECK(first.cubin == second.cubin);
  CHECK(first.kernels == second.kernels);
}

TEST_CASE("nvrtc: a newer architecture than it knows gets PTX for the newest") {
  CERMET_NEEDS_NVRTC();
  const int newest = cermet::compiler::nvrtc_architectures().back();
  const CudaObject object = compile_cuda(scale, {.arch = {999, 'a'}});
  CHECK(object.target == "compute_" + std::to_string(newest));
  CHECK(object.cubin.empty());
  CHECK_THAT(object.ptx, ContainsSubstring(".target sm_" + std::to_string(newest)));
}

TEST_CASE("nvrtc: an architecture that is too old is refused with what is supported") {
  CERMET_NEEDS_NVRTC();
  const std::string text =
      message_of<cermet::DeviceError>([] { compile_cuda(scale, {.arch = {35}}); });
  CHECK_THAT(text, ContainsSubstring(" makes no code for sm_35, only for sm_"));
  CHECK_THAT(text, ContainsSubstring("sm_80, "));
}

TEST_CASE("nvrtc: a broken program is reported with the log and its numbered lines") {
  CERMET_NEEDS_NVRTC();
  const std::string source = "extern \"C\" __global__ void f(int* x) {\n  *x = nothing;\n}\n";
  const std::string text =
      message_of<cermet::InternalError>([&] { compile_cuda(source, {.arch = {90}}); });
  CHECK_THAT(text, ContainsSubstring("cuda: a program does not compile for sm_90:"));
  CHECK_THAT(text, ContainsSubstring("kernels.cu(2): error: identifier \"nothing\" is undefined"));
  CHECK_THAT(text, ContainsSubstring("\n    2    *x = nothing;\n"));
}

TEST_CASE("nvrtc: what only the assembler finds is an error too") {
  CERMET_NEEDS_NVRTC();
  const std::string source = R"(extern "C" __global__ void f(unsigned* x) {
    asm volatile("cp.async.commit_group;");  // of sm_80
    *x = 1;
  })";
  const std::string text =
      message_of<cermet::InternalError>([&] { compile_cuda(source, {.arch = {75}}); });
  CHECK_THAT(text, ContainsSubstring("sm_80"));
  CHECK_NOTHROW(compile_cuda(source, {.arch = {80}}));
}

TEST_CASE("nvrtc: warnings are kept, reports of the assembler are not among them") {
  CERMET_NEEDS_NVRTC();
  const std::string source = "extern \"C\" __global__ void f(int* x) { int unused; *x = 1; }";
  const CudaObject object = compile_cuda(source, {.arch = {90}});
  CHECK_THAT(object.log, ContainsSubstring("\"unused\""));
  CHECK_THAT(object.log, !ContainsSubstring("ptxas"));
  CHECK(object.kernels.size() == 1);
}

TEST_CASE("nvrtc: the options depend on its version") {
  const auto has = [](const CudaOptions& options, NvrtcVersion version, const char* text) {
    const auto all = nvrtc_options(options, version);
    return std::find(all.begin(), all.end(), text) != all.end();
  };
  const CudaOptions plain{.arch = {90, 'a'}};
  CHECK(has(plain, {12, 0}, "--gpu-architecture=sm_90a"));
  CHECK(has(plain, {12, 0}, "--fmad=false"));
  CHECK_FALSE(has(plain, {12, 0}, "--minimal"));
  CHECK_FALSE(has(plain, {12, 9}, "--no-cache"));
  CHECK(has(plain, {13, 0}, "--no-cache"));
  CHECK(has({.arch = {90}, .cubin = false}, {13, 0}, "--gpu-architecture=compute_90"));
  CHECK(has({.arch = {90}, .line_info = true}, {13, 0}, "--generate-line-info"));
  CHECK(has({.arch = {90}, .fast = true}, {13, 0}, "--use_fast_math"));
  CHECK_FALSE(has({.arch = {90}, .fast = true}, {13, 0}, "--fmad=false"));
}

TEST_CASE("nvrtc: CERMET_NVRTC names the only file that is tried") {
  const EnvironmentVariable named("CERMET_NVRTC", "/nowhere/libnvrtc.so");
  const NvrtcPlaces places = cermet::compiler::nvrtc_places();
  CHECK(places.files == std::vector<std::filesystem::path>{"/nowhere/libnvrtc.so"});
  CHECK(places.empty_folders.empty());
}

TEST_CASE("nvrtc: it is looked for in toolkits, wheels and where the linker looks, in order") {
  const cermet::test::TemporaryDirectory directory;
  const auto make = [&](const char* relative) {
    const auto path = directory.path() / relative;
    std::filesystem::create_directories(path.parent_path());
    cermet::test::write_text(path, "not a library");
    return path;
  };
  const auto toolkit = make("toolkit/lib64/libnvrtc.so.12");
  const auto target = make("target/nvidia/cu13/lib/libnvrtc.so.13");
  const auto wheel = make("venv/lib/python3.11/site-packages/nvidia/cuda_nvrtc/lib/libnvrtc.so.12");
  const EnvironmentVariable unnamed("CERMET_NVRTC", nullptr);
  const EnvironmentVariable home("CUDA_HOME", (directory.path() / "toolkit").c_str());
  const EnvironmentVariable old("CUDA_PATH", nullptr);
  const EnvironmentVariable python("PYTHONPATH",
                                   ("/nowhere::" + (directory.path() / "target").string()).c_str());
  const EnvironmentVariable venv("VIRTUAL_ENV", (directory.path() / "venv").c_str());
  const NvrtcPlaces places = cermet::compiler::nvrtc_places();
  CHECK(position(places, toolkit) == 0);
  CHECK(position(places, target) == 1);
  CHECK(position(places, wheel) == 2);
  CHECK(position(places, "libnvrtc.so.13") < position(places, "libnvrtc.so"));
  CHECK(position(places, "libnvrtc.so") < places.files.size());
  const auto& empty = places.empty_folders;
  CHECK(std::count(empty.begin(), empty.end(), "/nowhere/nvidia/cu13/lib") == 1);
  CHECK(std::count(empty.begin(), empty.end(), directory.path() / "toolkit/lib") == 1);
}

TEST_CASE("nvrtc: where there is none, every place is named with the reason") {
  const cermet::test::TemporaryDirectory directory;
  const auto text_file = directory.path() / "libnvrtc.so.13";
  cermet::test::write_text(text_file, "not a library");
  const std::string text = message_of<cermet::DeviceError>([&] {
    cermet::compiler::open_nvrtc({.files = {"/nowhere/libnvrtc.so.12", text_file, "libm.so.6"},
                                  .empty_folders = {"/empty/lib64", "/empty/lib"}});
  });
  CHECK_THAT(text, ContainsSubstring("cuda: NVRTC could not be opened; the wheel "
                                     "nvidia-cuda-nvrtc has it, and CERMET_NVRTC can name the "
                                     "file; tried\n  /nowhere/libnvrtc.so.12: "));
  CHECK_THAT(text, ContainsSubstring("No such file"));
  CHECK_THAT(text, ContainsSubstring("\n  " + text_file.string() + ": "));
  CHECK_THAT(text, ContainsSubstring("\n  libm.so.6: it has no function nvrtcVersion"));
  CHECK_THAT(text, ContainsSubstring("\n  none in /empty/lib64 /empty/lib"));
}

#include "compiler/cuda/nvrtc.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <string_view>

#include "cermet/error.h"

namespace cermet::compiler {
namespace {

// What the source is called in messages.
constexpr const char* file_name = "kernels.cu";

void check(const NvrtcLibrary& nvrtc, NvrtcResult result, const char* call) {
  if (result != NvrtcResult::Success)
    throw DeviceError(fmt::format("cuda: nvrtc{} failed: {}", call, nvrtc.GetErrorString(result)));
}

// A program of NVRTC, destroyed with this.
class Program {
 public:
  Program(const NvrtcLibrary& nvrtc, const std::string& source) : nvrtc_(nvrtc) {
    check(nvrtc_, nvrtc_.CreateProgram(&program_, source.c_str(), file_name, 0, nullptr, nullptr),
          "CreateProgram");
  }
  ~Program() { nvrtc_.DestroyProgram(&program_); }
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  NvrtcResult compile(const std::vector<std::string>& options) {
    std::vector<const char*> texts;
    for (const std::string& option : options) texts.push_back(option.c_str());
    return nvrtc_.CompileProgram(program_, int(texts.size()), texts.data());
  }

  // NVRTC's texts end with a zero byte that counts in their size.
  std::string log() {
    return text(nvrtc_.GetProgramLogSize, nvrtc_.GetProgramLog, "GetProgramLog");
  }
  std::string ptx() { return text(nvrtc_.GetPTXSize, nvrtc_.GetPTX, "GetPTX"); }
  std::vector<std::byte> cubin() {
    size_t bytes = 0;
    check(nvrtc_, nvrtc_.GetCUBINSize(program_, &bytes), "GetCUBINSize");
    std::vector<std::byte> result(bytes);
    check(nvrtc_, nvrtc_.GetCUBIN(program_, reinterpret_cast<char*>(result.data())), "GetCUBIN");
    return result;
  }

 private:
  std::string text(NvrtcResult (*size)(NvrtcProgram, size_t*),
                   NvrtcResult (*get)(NvrtcProgram, char*), const char* call) {
    size_t bytes = 0;
    check(nvrtc_, size(program_, &bytes), call);
    std::string result(bytes, '\0');
    check(nvrtc_, get(program_, result.data()), call);
    result.resize(std::min(result.find('\0'), result.size()));
    return result;
  }

  const NvrtcLibrary& nvrtc_;
  NvrtcProgram program_ = nullptr;
};

std::string numbered(std::string_view source) {
  std::string result;
  for (int line = 1; !source.empty(); ++line) {
    const size_t end = std::min(source.find('\n'), source.size());
    result += fmt::format("{:5}  {}\n", line, source.substr(0, end));
    source.remove_prefix(std::min(end + 1, source.size()));
  }
  return result;
}

// What can be made for the architecture: itself; or PTX for the newest one known, if that is older.
CudaOptions supported(const NvrtcLibrary& nvrtc, CudaOptions options) {
  const std::vector<int>& known = nvrtc.architectures;
  const int wanted = options.arch.number;
  if (std::binary_search(known.begin(), known.end(), wanted)) return options;
  const auto above = std::upper_bound(known.begin(), known.end(), wanted);
  if (above == known.begin())
    throw DeviceError(fmt::format("cuda: NVRTC {}.{} makes no code for {}, only for sm_{}",
                                  nvrtc.version.major, nvrtc.version.minor, to_string(options.arch),
                                  fmt::join(known, ", sm_")));
  options.arch = {.number = above[-1]};
  options.cubin = false;
  return options;
}

}  // namespace

std::vector<std::string> nvrtc_options(const CudaOptions& options, NvrtcVersion version) {
  std::string target = to_string(options.arch);
  if (!options.cubin) target.replace(0, 2, "compute");  // sm_90 -> compute_90
  std::vector<std::string> result = {"--gpu-architecture=" + target, "--std=c++17",
                                     "-default-device"};
  if (options.fast)
    result.insert(result.end(), {"--use_fast_math"});
  else
    result.insert(result.end(),
                  {"--fmad=false", "--ftz=false", "--prec-div=true", "--prec-sqrt=true"});
  if (options.cubin) result.emplace_back("--ptxas-options=-v");
  if (options.line_info) result.emplace_back("--generate-line-info");
  // Leaves out declarations of textures and of the runtime library, which nobody uses here.
  if (version >= NvrtcVersion{12, 8}) result.emplace_back("--minimal");
  // A cache of NVRTC's own, for which it would open the driver; Cermet keeps what was compiled.
  if (version >= NvrtcVersion{13, 0}) result.emplace_back("--no-cache");
  return result;
}

CudaObject compile_cuda(const std::string& source, const CudaOptions& wanted) {
  const NvrtcLibrary& nvrtc = nvrtc_library();
  const CudaOptions options = supported(nvrtc, wanted);
  Program program(nvrtc, source);
  const NvrtcResult result = program.compile(nvrtc_options(options, nvrtc.version));
  if (result == NvrtcResult::Compilation)
    throw InternalError(fmt::format("cuda: a program does not compile for {}:\n{}\n{}",
                                    to_string(options.arch), program.log(), numbered(source)));
  if (result != NvrtcResult::Success)
    throw DeviceError(fmt::format("cuda: nvrtcCompileProgram failed for {}: {}\n{}",
                                  to_string(options.arch), nvrtc.GetErrorString(result),
                                  program.log()));
  CudaObject object;
  object.kernels = parse_resources(program.log(), &object.log);
  object.ptx = program.ptx();
  if (options.cubin) object.cubin = program.cubin();
  object.target = options.cubin ? to_string(options.arch)
                                : fmt::format("compute_{}", to_string(options.arch).substr(3));
  return object;
}

NvrtcVersion nvrtc_version() { return nvrtc_library().version; }

std::vector<int> nvrtc_architectures() { return nvrtc_library().architectures; }

}  // namespace cermet::compiler

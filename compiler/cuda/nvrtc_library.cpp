#include "compiler/cuda/nvrtc_library.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <optional>
#include <string_view>
#include <system_error>
#include <utility>

#include "cermet/error.h"
#include "ir/dynlib.h"

namespace cermet::compiler {
namespace {

namespace fs = std::filesystem;

// Names with the major version, which says what interface is behind them, newest first.
constexpr const char* file_names[] = {"libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"};

// The first file of those names in the folder.
void add_folder(NvrtcPlaces& places, const fs::path& folder) {
  std::error_code ignored;
  for (const char* name : file_names)
    if (fs::exists(folder / name, ignored)) return places.files.push_back(folder / name);
  places.empty_folders.push_back(folder);
}

void add_toolkit(NvrtcPlaces& places, const fs::path& root) {
  add_folder(places, root / "lib64");
  add_folder(places, root / "lib");
}

void add_site_packages(NvrtcPlaces& places, const fs::path& site) {
  add_folder(places, site / "nvidia/cu13/lib");
  add_folder(places, site / "nvidia/cuda_nvrtc/lib");
}

// The entries of `parent` whose name begins with `prefix`: the last in the alphabet first, as that
// is mostly the newest version.
std::vector<fs::path> entries_of(const fs::path& parent, std::string_view prefix) {
  std::vector<fs::path> result;
  std::error_code failed;
  for (fs::directory_iterator at(parent, failed), end; !failed && at != end; at.increment(failed))
    if (at->path().filename().string().starts_with(prefix)) result.push_back(at->path());
  std::sort(result.rbegin(), result.rend());
  return result;
}

// A Python environment: lib/python3.11/site-packages below its root, dist-packages on Debian.
void add_python(NvrtcPlaces& places, const fs::path& root) {
  for (const fs::path& python : entries_of(root / "lib", "python3"))
    for (const char* packages : {"site-packages", "dist-packages"})
      add_site_packages(places, python / packages);
}

std::vector<fs::path> environment_paths(const char* variable) {
  std::vector<fs::path> result;
  const char* value = std::getenv(variable);
  for (std::string_view rest = value ? value : ""; !rest.empty();) {
    const size_t colon = std::min(rest.find(':'), rest.size());
    if (colon > 0) result.emplace_back(rest.substr(0, colon));
    rest.remove_prefix(std::min(colon + 1, rest.size()));
  }
  return result;
}

// Loads the functions and asks the library what it is. Nothing, and why, if it is not wanted.
std::optional<NvrtcLibrary> accept(const ir::DynamicLibrary& library, std::string& why) {
  NvrtcLibrary nvrtc;
#define CERMET_NVRTC(name, ...)                                \
  nvrtc.name = library.find<__VA_ARGS__>("nvrtc" #name);       \
  if (!nvrtc.name) {                                           \
    why = fmt::format("it has no function {}", "nvrtc" #name); \
    return std::nullopt;                                       \
  }
#include "compiler/cuda/nvrtc.def"

  int count = 0;
  if (nvrtc.Version(&nvrtc.version.major, &nvrtc.version.minor) != NvrtcResult::Success ||
      nvrtc.GetNumSupportedArchs(&count) != NvrtcResult::Success || count <= 0) {
    why = "it does not say what it is";
    return std::nullopt;
  }
  if (nvrtc.version < nvrtc_minimum) {
    why = fmt::format("it is version {}.{}, at least {}.{} is needed", nvrtc.version.major,
                      nvrtc.version.minor, nvrtc_minimum.major, nvrtc_minimum.minor);
    return std::nullopt;
  }
  nvrtc.architectures.resize(size_t(count));
  if (nvrtc.GetSupportedArchs(nvrtc.architectures.data()) != NvrtcResult::Success) {
    why = "it does not say what it makes code for";
    return std::nullopt;
  }
  std::sort(nvrtc.architectures.begin(), nvrtc.architectures.end());
  // Of a bare name, the file that the dynamic linker took.
  nvrtc.path = ir::object_of(reinterpret_cast<const void*>(nvrtc.Version));
  return nvrtc;
}

// NVRTC opens a second library beside it at every compile. It is found by its run path, unless
// AddressSanitizer stands between them; opened before, it is found in any case.
std::vector<ir::DynamicLibrary> open_companions(const fs::path& nvrtc) {
  std::vector<ir::DynamicLibrary> result;
  for (const fs::path& file : entries_of(nvrtc.parent_path(), "libnvrtc-builtins.so.")) {
    std::string why;
    if (auto library = ir::DynamicLibrary::try_open(file, why))
      result.push_back(std::move(*library));
  }
  return result;
}

}  // namespace

NvrtcPlaces nvrtc_places() {
  NvrtcPlaces places;
  if (const char* named = std::getenv("CERMET_NVRTC"); named && *named) {
    places.files.emplace_back(named);
    return places;
  }
  for (const char* variable : {"CUDA_HOME", "CUDA_PATH"})
    for (const fs::path& root : environment_paths(variable)) add_toolkit(places, root);
  for (const fs::path& site : environment_paths("PYTHONPATH")) add_site_packages(places, site);
  for (const char* variable : {"VIRTUAL_ENV", "CONDA_PREFIX"})
    for (const fs::path& root : environment_paths(variable)) add_python(places, root);
  for (const char* name : file_names) places.files.emplace_back(name);
  for (const fs::path parent : {"/usr/local", "/opt"})
    for (const fs::path& root : entries_of(parent, "cuda")) add_toolkit(places, root);
  for (const fs::path& home : environment_paths("HOME")) add_python(places, home / ".local");
  for (const char* root : {"/usr/local", "/usr"}) add_python(places, root);
  return places;
}

const NvrtcLibrary& open_nvrtc(const NvrtcPlaces& places) {
  static std::mutex mutex;
  const std::scoped_lock lock(mutex);
  std::string tried;
  for (const fs::path& path : places.files) {
    std::string why;
    std::optional<ir::DynamicLibrary> library = ir::DynamicLibrary::try_open(path, why);
    std::optional<NvrtcLibrary> nvrtc = library ? accept(*library, why) : std::nullopt;
    if (nvrtc) {
      // Never closed, so that its functions stay valid while other static objects are destroyed.
      struct Open {
        ir::DynamicLibrary library;
        std::vector<ir::DynamicLibrary> companions;
        NvrtcLibrary functions;
      };
      static auto* const opened = new std::vector<std::unique_ptr<Open>>;
      opened->push_back(std::make_unique<Open>(
          Open{std::move(*library), open_companions(nvrtc->path), std::move(*nvrtc)}));
      return opened->back()->functions;
    }
    tried += fmt::format("\n  {}: {}", path.string(), why);
  }
  if (!places.empty_folders.empty()) tried += "\n  none in";
  for (const fs::path& folder : places.empty_folders) tried += fmt::format(" {}", folder.string());
  throw DeviceError(
      fmt::format("cuda: NVRTC could not be opened; the wheel nvidia-cuda-nvrtc has it, and "
                  "CERMET_NVRTC can name the file; tried{}",
                  tried));
}

const NvrtcLibrary& nvrtc_library() {
  static const NvrtcLibrary& library = open_nvrtc(nvrtc_places());
  return library;
}

}  // namespace cermet::compiler

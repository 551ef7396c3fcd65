// The way in: initialisation, names of errors, and finding the other entry points.

#include <unistd.h>

#include <cstring>
#include <string_view>

#include "fakecuda/driver.h"

namespace cermet::fakecuda {
namespace {

struct Entry {
  std::string_view name;
  int version;
  void* address;
};

constexpr struct {
  CUresult code;
  const char* name;
  const char* text;
} results[] = {
    {CUDA_SUCCESS, "CUDA_SUCCESS", "no error"},
#define ERROR(name, value, text) {CUDA_ERROR_##name, "CUDA_ERROR_" #name, text},
#include "fakecuda/errors.def"
#undef ERROR
};

// A function of another type than the table's `void*` has the same size on every system with dlsym.
template <class Function>
void* address_of(Function* function) {
  void* address = nullptr;
  std::memcpy(&address, &function, sizeof address);
  return address;
}

// The newest function of that name that the version has; null and why not if there is none.
void* find_entry(std::string_view name, int version, CUdriverProcAddressQueryResult& status) {
  static const Entry entries[] = {
#define ENTRY(name, symbol, version, parameters) {#name, version, address_of(&symbol)},
#define ALIAS(name, symbol, version) ENTRY(name, symbol, version, ())
#include "fakecuda/api.def"
#undef ENTRY
  };
  const Entry* best = nullptr;
  status = CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND;
  for (const Entry& entry : entries) {
    if (entry.name != name) continue;
    if (entry.version > version) {
      if (best == nullptr) status = CU_GET_PROC_ADDRESS_VERSION_NOT_SUFFICIENT;
    } else if (best == nullptr || entry.version > best->version) {
      best = &entry;
      status = CU_GET_PROC_ADDRESS_SUCCESS;
    }
  }
  return best == nullptr ? nullptr : best->address;
}

void* find_entry_checked(const char* symbol, int version, uint64_t flags,
                         CUdriverProcAddressQueryResult& status) {
  constexpr uint64_t per_thread_default_stream = 2;
  require(symbol != nullptr && flags <= 2);
  require(version <= driver().options.driver_version);
  // Its functions would treat stream 0 in another way; the fake driver has not got them.
  if (flags == per_thread_default_stream) fail(CUDA_ERROR_NOT_SUPPORTED);
  return find_entry(symbol, version, status);
}

}  // namespace

CUresult cuInit(unsigned flags) {
  return anytime("cuInit", [&] {
    require(flags == 0);
    if (driver().devices.empty()) fail(CUDA_ERROR_NO_DEVICE);
    driver().initialised = true;
    driver().process = getpid();
  });
}

CUresult cuDriverGetVersion(int* version) {
  return anytime("cuDriverGetVersion", [&] { out(version) = driver().options.driver_version; });
}

CUresult cuGetErrorName(CUresult error, const char** name) {
  return anytime("cuGetErrorName", [&] {
    out(name) = nullptr;
    for (const auto& row : results) {
      if (row.code == error) *name = row.name;
    }
    require(*name != nullptr);
  });
}

CUresult cuGetErrorString(CUresult error, const char** text) {
  return anytime("cuGetErrorString", [&] {
    out(text) = nullptr;
    for (const auto& row : results) {
      if (row.code == error) *text = row.text;
    }
    require(*text != nullptr);
  });
}

CUresult cuGetProcAddress(const char* symbol, void** address, int version, uint64_t flags) {
  return anytime("cuGetProcAddress", [&] {
    CUdriverProcAddressQueryResult status{};
    out(address) = find_entry_checked(symbol, version, flags, status);
    require(*address != nullptr, CUDA_ERROR_NOT_FOUND);
  });
}

// Success even where nothing is found: the status and the null address say so.
CUresult cuGetProcAddress_v2(const char* symbol, void** address, int version, uint64_t flags,
                             CUdriverProcAddressQueryResult* status) {
  return anytime("cuGetProcAddress", [&] {
    CUdriverProcAddressQueryResult found{};
    out(address) = nullptr;
    *address = find_entry_checked(symbol, version, flags, found);
    if (status != nullptr) *status = found;
  });
}

// NVRTC asks for tables of its own without checking that the function is there.
CUresult cuGetExportTable(const void** table, const CUuuid*) {
  return anytime("cuGetExportTable", [&] {
    out(table) = nullptr;
    fail(CUDA_ERROR_NOT_FOUND);
  });
}

}  // namespace cermet::fakecuda

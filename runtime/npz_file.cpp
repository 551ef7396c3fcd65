// .npz files: read_npz and write_npz of npy_file.h. The container is libzip's; what is checked here
// is what a hostile zip could claim.
#include <fmt/format.h>
#include <zip.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <set>

#include "cermet/error.h"
#include "runtime/new_file.h"
#include "runtime/npy_file.h"
#include "runtime/npy_source.h"

namespace cermet::runtime {
namespace {

constexpr std::string_view suffix = ".npy";
// A deflate block spends at least two bits on 258 bytes (RFC 1951), so no stream grows more than
// this.
constexpr uint64_t deflate_ratio = 1032;

struct Discard {
  void operator()(zip_t* archive) const { zip_discard(archive); }
};
struct Close {
  void operator()(zip_file_t* file) const { zip_fclose(file); }
};
using Archive = std::unique_ptr<zip_t, Discard>;

// Failure is the caller's mistake for a file to be read, the file system's for one to be written.
template <class Exception>
Archive open_archive(const std::string& where, const std::filesystem::path& path, int flags) {
  int code = 0;
  Archive archive(zip_open(path.c_str(), flags, &code));
  if (archive) return archive;
  zip_error_t error;
  zip_error_init_with_code(&error, code);
  const std::string text = zip_error_strerror(&error);
  zip_error_fini(&error);
  throw Exception(fmt::format("{}: {}", where, text));
}

// Why a name cannot be used as the path of a member; empty if it can. A tool that unpacks the file
// must not be led out of its folder.
std::string_view fault_of(std::string_view name) {
  if (name.empty()) return "is empty";
  if (name.find_first_of(std::string_view("\\:\0", 3)) != name.npos)
    return "has a backslash, a colon or a zero byte";
  for (size_t begin = 0; begin <= name.size();) {
    const size_t end = std::min(name.find('/', begin), name.size());
    const std::string_view part = name.substr(begin, end - begin);
    if (part.empty() || part == "." || part == "..") return "is not a plain relative path";
    begin = end + 1;
  }
  return {};
}

// For messages: names come from the file and may hold anything.
std::string printable(std::string_view name) {
  std::string out = "\"";
  for (const char c : name.substr(0, 200))
    out += c >= ' ' && c < 127 && c != '"' && c != '\\' ? std::string(1, c)
                                                        : fmt::format("\\x{:02x}", uint8_t(c));
  return out + (name.size() > 200 ? "...\"" : "\"");
}

Array read_member(zip_t* archive, const std::string& where, uint64_t index,
                  const zip_stat_t& facts) {
  const zip_uint64_t needed =
      ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE | ZIP_STAT_COMP_METHOD | ZIP_STAT_ENCRYPTION_METHOD;
  if ((facts.valid & needed) != needed)
    throw Error(where + ": the zip does not say how large it is");
  if (facts.encryption_method != ZIP_EM_NONE) throw Error(where + ": it is encrypted");
  if (facts.comp_method != ZIP_CM_STORE && facts.comp_method != ZIP_CM_DEFLATE)
    throw Error(
        fmt::format("{}: compression method {} is not supported", where, facts.comp_method));
  const uint64_t most = facts.comp_method == ZIP_CM_STORE ? facts.comp_size
                        : facts.comp_size > UINT64_MAX / deflate_ratio
                            ? UINT64_MAX
                            : facts.comp_size * deflate_ratio;
  if (facts.size > most)
    throw Error(fmt::format("{}: {} packed bytes cannot hold the {} bytes that are declared", where,
                            facts.comp_size, facts.size));
  const std::unique_ptr<zip_file_t, Close> file(zip_fopen_index(archive, index, 0));
  if (!file) throw Error(fmt::format("{}: {}", where, zip_strerror(archive)));
  const auto read = [&](std::byte* out, size_t count) {
    const zip_int64_t got = zip_fread(file.get(), out, count);
    if (got < 0) throw Error(fmt::format("{}: {}", where, zip_file_strerror(file.get())));
    return size_t(got);
  };
  NpySource source{where, facts.size, read};
  Array array = read_array(source);
  // libzip compares the checksum when it meets the end.
  std::byte rest[4096];
  while (read(rest, sizeof rest) > 0) {
  }
  return array;
}

}  // namespace

NamedArrays read_npz(const std::filesystem::path& path) {
  const std::string where = fmt::format("read_npz: {}", path.string());
  const Archive archive = open_archive<Error>(where, path, ZIP_RDONLY);
  const zip_int64_t count = zip_get_num_entries(archive.get(), 0);
  NamedArrays arrays;
  std::set<std::string> seen;
  for (uint64_t index = 0; index < uint64_t(count); ++index) {
    zip_stat_t facts;
    if (zip_stat_index(archive.get(), index, ZIP_FL_ENC_RAW, &facts) != 0 ||
        !(facts.valid & ZIP_STAT_NAME))
      throw Error(fmt::format("{}: member {}: {}", where, index, zip_strerror(archive.get())));
    const std::string_view member = facts.name;
    const std::string inside = fmt::format("{}: member {}", where, printable(member));
    if (const std::string_view fault = fault_of(member); !fault.empty())
      throw Error(fmt::format("{}: the name {}", inside, fault));
    if (!member.ends_with(suffix) || member.size() == suffix.size())
      throw Error(inside + ": not a .npy file");
    std::string name(member.substr(0, member.size() - suffix.size()));
    if (!seen.insert(name).second) throw Error(inside + ": the name appears twice");
    arrays.emplace_back(std::move(name), read_member(archive.get(), inside, index, facts));
  }
  return arrays;
}

void write_npz(const std::filesystem::path& path, const NamedViews& arrays) {
  const std::string where = fmt::format("write_npz: {}", path.string());
  std::set<std::string> seen;
  for (const auto& [name, array] : arrays) {
    if (const std::string_view fault = fault_of(name); !fault.empty())
      throw Error(fmt::format("{}: the name {} {}", where, printable(name), fault));
    if (!seen.insert(name).second)
      throw Error(fmt::format("{}: the name {} appears twice", where, printable(name)));
  }
  if (arrays.empty()) {  // libzip writes no file for this: just the end record
    NewFile file(path, "write_npz");
    file.write("PK\5\6\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 22);
    return file.finish();
  }
  Archive archive = open_archive<DeviceError>(where, path, ZIP_CREATE | ZIP_TRUNCATE);
  const auto fail = [&] {
    throw DeviceError(fmt::format("{}: {}", where, zip_strerror(archive.get())));
  };
  std::vector<std::string> headers(
      arrays.size());  // libzip reads them, and the data, when it closes
  for (size_t i = 0; i < arrays.size(); ++i) {
    const auto& [name, array] = arrays[i];
    headers[i] = npy_header(array.dtype, array.shape);
    const size_t bytes = size_t(numel(array.shape)) * size_of(array.dtype);
    // libzip's type has no const, but it only reads.
    const zip_buffer_fragment_t parts[2] = {
        {reinterpret_cast<zip_uint8_t*>(headers[i].data()), headers[i].size()},
        {const_cast<zip_uint8_t*>(static_cast<const zip_uint8_t*>(array.data)), bytes}};
    zip_source_t* source = zip_source_buffer_fragment(archive.get(), parts, bytes == 0 ? 1 : 2, 0);
    if (!source) fail();
    const zip_int64_t index =
        zip_file_add(archive.get(), (name + std::string(suffix)).c_str(), source, ZIP_FL_ENC_UTF_8);
    if (index < 0) {
      zip_source_free(source);
      fail();
    }
    // 1980-01-01, the first date a zip can hold, as numpy.savez: equal arrays give equal files.
    if (zip_set_file_compression(archive.get(), zip_uint64_t(index), ZIP_CM_STORE, 0) != 0 ||
        zip_file_set_dostime(archive.get(), zip_uint64_t(index), 0, (1 << 5) | 1, 0) != 0)
      fail();
  }
  if (zip_close(archive.get()) != 0) fail();
  (void)archive.release();  // closed
}

}  // namespace cermet::runtime

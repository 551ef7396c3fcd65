#include "runtime/npy_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <limits>
#include <new>
#include <optional>
#include <system_error>

#include "cermet/error.h"
#include "runtime/new_file.h"
#include "runtime/npy_header.h"
#include "runtime/npy_source.h"

namespace cermet::runtime {
namespace {

static_assert(std::endian::native == std::endian::little);

constexpr std::string_view magic = "\x93NUMPY";
constexpr uint64_t max_header_bytes = uint64_t(1) << 20;  // NumPy's own limit is 10,000
constexpr size_t header_alignment = 64;                   // numpy.lib.format.ARRAY_ALIGN
constexpr size_t growth_digits = 21;                      // numpy.lib.format.GROWTH_AXIS_MAX_DIGITS

std::string system_text() { return std::generic_category().message(errno); }

[[noreturn]] void refuse(const NpySource& source, const std::string& what) {
  throw Error(fmt::format("{}: {}", source.where, what));
}

void read_exactly(NpySource& source, void* out, uint64_t bytes, std::string_view what) {
  if (bytes > source.left)
    refuse(source, fmt::format("{} takes {} bytes, only {} are left", what, bytes, source.left));
  auto* to = static_cast<std::byte*>(out);
  while (bytes > 0) {
    const size_t got = source.read(to, bytes);
    if (got == 0) refuse(source, fmt::format("{} ends {} bytes early", what, bytes));
    to += got, bytes -= got, source.left -= got;
  }
}

std::string read_header_text(NpySource& source) {
  char start[8];
  if (source.left < sizeof start)
    refuse(source, fmt::format("not a .npy file, it has only {} bytes", source.left));
  read_exactly(source, start, sizeof start, "the start");
  const std::string_view begin(start, sizeof start);
  if (begin.starts_with("PK\x03\x04")) refuse(source, "not a .npy but a zip file, maybe an .npz");
  if (begin.starts_with('\x80')) refuse(source, "not a .npy file but pickled Python objects");
  if (!begin.starts_with(magic))
    refuse(source, "not a .npy file, it does not begin with \\x93NUMPY");
  const int major = uint8_t(start[6]), minor = uint8_t(start[7]);
  if (major < 1 || major > 3 || minor != 0)
    refuse(source, fmt::format("version {}.{} of the format is not known", major, minor));
  uint8_t size[4] = {};
  read_exactly(source, size, major == 1 ? 2 : 4, "the length of the header");
  const uint32_t bytes =
      size[0] | uint32_t(size[1]) << 8 | uint32_t(size[2]) << 16 | uint32_t(size[3]) << 24;
  if (bytes > max_header_bytes || bytes > source.left)
    refuse(source, fmt::format("claims a header of {} bytes, the limit is {} and {} are left",
                               bytes, max_header_bytes, source.left));
  std::string text(bytes, '\0');
  read_exactly(source, text.data(), bytes, "the header");
  return text;
}

void swap_bytes(std::vector<std::byte>& data, size_t element) {
  for (size_t i = 0; i < data.size(); i += element)
    std::reverse(data.begin() + ptrdiff_t(i), data.begin() + ptrdiff_t(i + element));
}

// From column-major to row-major.
template <size_t element>
std::vector<std::byte> transposed(const std::vector<std::byte>& data, const Shape& shape) {
  std::vector<std::byte> out(data.size());
  Strides strides(shape.size());  // of the column-major data, in elements
  int64_t stride = 1;
  for (size_t axis = 0; axis < shape.size(); ++axis) strides[axis] = stride, stride *= shape[axis];
  Dims index(shape.size());
  int64_t from = 0;
  for (size_t to = 0; to < out.size(); to += element) {
    std::memcpy(&out[to], &data[size_t(from) * element], element);
    for (size_t axis = shape.size(); axis-- > 0;) {
      from += strides[axis];
      if (++index[axis] < shape[axis]) break;
      from -= strides[axis] * shape[axis];
      index[axis] = 0;
    }
  }
  return out;
}

std::vector<std::byte> to_row_major(const std::vector<std::byte>& data, const Shape& shape,
                                    size_t element) {
  switch (element) {
    case 1: return transposed<1>(data, shape);
    case 2: return transposed<2>(data, shape);
    case 4: return transposed<4>(data, shape);
    case 8: return transposed<8>(data, shape);
  }
  throw InternalError(fmt::format("npy: an element of {} bytes", element));
}

}  // namespace

Array read_array(NpySource& source) {
  const std::string text = read_header_text(source);
  const NpyHeader header = parse_npy_header(text, source.where);
  const size_t element = size_of(header.dtype);
  const std::optional<int64_t> count = checked_numel(header.shape);
  if (!count || *count > std::numeric_limits<int64_t>::max() / int64_t(element))
    refuse(source, fmt::format("the shape {} has more elements than can be counted",
                               to_string(header.shape)));
  const uint64_t bytes = uint64_t(*count) * element;
  const std::string what =
      fmt::format("the data of {}{}", name(header.dtype), to_string(header.shape));
  // Before the memory is asked for: a short file must not cost a large allocation.
  if (bytes > source.left)
    refuse(source, fmt::format("{} takes {} bytes, only {} are left", what, bytes, source.left));
  Array array{header.dtype, header.shape, {}};
  try {
    array.data.resize(bytes);
    read_exactly(source, array.data.data(), bytes, what);
    if (header.swapped) swap_bytes(array.data, element);
    if (header.fortran_order && header.shape.size() > 1 && bytes > 0)
      array.data = to_row_major(array.data, header.shape, element);
  } catch (const std::bad_alloc&) {
    throw DeviceError(fmt::format("{}: no memory for {} bytes", source.where, bytes));
  }
  if (header.dtype == DType::Bool)  // a bool that is neither 0 nor 1 would be undefined behaviour
    for (std::byte& byte : array.data) byte = std::byte(byte != std::byte{0});
  return array;
}

Array parse_npy(std::span<const std::byte> bytes, std::string_view name) {
  const auto read = [&](std::byte* out, size_t count) {
    count = std::min(count, bytes.size());
    if (count > 0) std::memcpy(out, bytes.data(), count);
    bytes = bytes.subspan(count);
    return count;
  };
  NpySource source{fmt::format("read_npy: {}", name), bytes.size(), read};
  return read_array(source);
}

Array read_npy(const std::filesystem::path& path) {
  const std::string where = fmt::format("read_npy: {}", path.string());
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) throw Error(fmt::format("{}: {}", where, system_text()));
  const struct Closer {
    int file;
    ~Closer() { close(file); }
  } closer{file};
  struct stat facts;
  if (fstat(file, &facts) != 0) throw DeviceError(fmt::format("{}: {}", where, system_text()));
  if (!S_ISREG(facts.st_mode)) throw Error(fmt::format("{}: not a regular file", where));
  const auto read = [&](std::byte* out, size_t count) {
    ssize_t got;
    do got = ::read(file, out, count);
    while (got < 0 && errno == EINTR);
    if (got < 0) throw DeviceError(fmt::format("{}: {}", where, system_text()));
    return size_t(got);
  };
  NpySource source{where, uint64_t(facts.st_size), read};
  return read_array(source);
}

std::string npy_header(DType dtype, std::span<const int64_t> shape) {
  std::string text = format_npy_header(dtype, shape);
  // NumPy leaves room for the first extent to grow in place.
  if (!shape.empty())
    text.append(growth_digits - std::min(growth_digits, fmt::format("{}", shape[0]).size()), ' ');
  // Magic, version, length, text and a newline fill a multiple of 64 bytes. Version 2 has a longer
  // length field; version 3 is for names outside ASCII, which plain arrays do not have.
  const auto start = [&](size_t length_bytes) { return magic.size() + 2 + length_bytes; };
  const auto padded = [&](size_t length_bytes) {
    const size_t whole = start(length_bytes) + text.size() + 1;
    return (whole + header_alignment - 1) / header_alignment * header_alignment -
           start(length_bytes);
  };
  const bool short_length = padded(2) <= 0xffff;
  const size_t length = padded(short_length ? 2 : 4);
  std::string out(magic);
  out += short_length ? '\1' : '\2';
  out += '\0';
  for (size_t i = 0; i < (short_length ? 2u : 4u); ++i) out += char(length >> (8 * i) & 0xff);
  text.append(length - text.size() - 1, ' ');
  return out + text + '\n';
}

void write_npy(const std::filesystem::path& path, const ArrayView& array) {
  const std::string header = npy_header(array.dtype, array.shape);
  NewFile file(path, "write_npy");
  file.write(header.data(), header.size());
  file.write(array.data, size_t(numel(array.shape)) * size_of(array.dtype));
  file.finish();
}

}  // namespace cermet::runtime

#include "ir/dynlib.h"

#include <string>

#include "cermet/error.h"
#include "support/catch.h"
#include "support/message.h"
#include "support/paths.h"

using Catch::Matchers::ContainsSubstring;
using cermet::ir::DynamicLibrary;
using cermet::test::message_of;

TEST_CASE("dynlib: a symbol is found with its type and can be called") {
  const DynamicLibrary libm("libm.so.6");
  CHECK(libm.symbol<double(double)>("sqrt")(2.25) == 1.5);
  CHECK(libm.find<double(double)>("no_such_symbol") == nullptr);
}

TEST_CASE("dynlib: a missing symbol and a missing library carry the linker's own text") {
  const DynamicLibrary libm("libm.so.6");
  const std::string symbol =
      message_of<cermet::DeviceError>([&] { libm.symbol<void()>("no_such_symbol"); });
  CHECK_THAT(symbol, ContainsSubstring("libm.so.6 has no symbol no_such_symbol: "));
  CHECK_THAT(symbol, ContainsSubstring("undefined symbol"));
  const std::string library =
      message_of<cermet::DeviceError>([] { DynamicLibrary("/nowhere/lib.so"); });
  CHECK_THAT(library, ContainsSubstring("cannot open /nowhere/lib.so: "));
  CHECK_THAT(library, ContainsSubstring("No such file"));
}

TEST_CASE("dynlib: a file that is no library is refused") {
  const cermet::test::TemporaryDirectory directory;
  const std::filesystem::path path = directory.path() / "text.so";
  cermet::test::write_text(path, "this is text");
  std::string why;
  CHECK_FALSE(DynamicLibrary::try_open(path, why).has_value());
  CHECK_THAT(why, ContainsSubstring("text.so"));
}

TEST_CASE("dynlib: a library can be moved, and only the last owner closes it") {
  DynamicLibrary first("libm.so.6");
  const DynamicLibrary second = std::move(first);
  CHECK(second.find<double(double)>("cos") != nullptr);
  // NOLINTBEGIN(bugprone-use-after-move): what is left behind is what is looked at.
  CHECK(first.find<double(double)>("cos") == nullptr);
  CHECK_THROWS_AS(first.symbol<double(double)>("cos"), cermet::InternalError);
  // NOLINTEND(bugprone-use-after-move)
}

TEST_CASE("dynlib: the object of an address is the file that holds its code") {
  CHECK(cermet::ir::object_of(reinterpret_cast<const void*>(&cermet::test::source_dir)) ==
        std::filesystem::read_symlink("/proc/self/exe"));
  const int on_the_stack = 0;
  CHECK(cermet::ir::object_of(&on_the_stack).empty());
}

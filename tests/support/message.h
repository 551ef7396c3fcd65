#pragma once
// What an exception says, to be compared with what it must say.

#include <string>

namespace cermet::test {

// The text of the E that a call throws, empty if it throws nothing. Anything else passes through.
template <class E>
std::string message_of(auto&& call) {
  try {
    call();
  } catch (const E& error) {
    return error.what();
  }
  return {};
}

}  // namespace cermet::test

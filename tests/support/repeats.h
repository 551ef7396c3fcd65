#pragma once
// How much a test does of one kind. A sanitizer makes it ten times as slow, and what it looks for
// shows in the first tenth as well.

#include <cstdint>

namespace cermet::test {

constexpr bool sanitized = CERMET_SANITIZED;

// `count`, or a tenth of it under a sanitizer.
constexpr int64_t repeats(int64_t count) { return sanitized ? count / 10 : count; }

}  // namespace cermet::test

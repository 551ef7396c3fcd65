#pragma once
// The processor this process runs on: an identity to file its Target under, and the Target's text
// form.

#include <optional>
#include <string>
#include <string_view>

#include "compiler/target.h"

namespace cermet::runtime {

// What the processor says of itself (CPUID: maker, model, features): equal on machines for which
// the same code is right.
std::string host_cpu_identity();

// A target as text, and back; nothing for text that print_target does not write.
std::string print_target(const compiler::Target& target);
std::optional<compiler::Target> parse_target(std::string_view text);

}  // namespace cermet::runtime

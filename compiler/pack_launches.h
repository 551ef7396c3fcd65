#pragma once
// Launches of one function that need nothing of each other become one launch.

#include <vector>

#include "compiler/program.h"

namespace cermet::compiler {

// The updates of all parameters of a network are the same few ops on arrays of different sizes: one
// function, many launches, most of them shorter than what it takes to share work among threads. As
// one launch they are shared out together. Whatever the kernels are, only their code and what they
// load and store is looked at.
//
// Which launches run together, by their indices and in the order of execution; every launch is in
// one of the lists. A launch may come to run earlier than it did, so those that store to
// temporaries of more than `most_bytes` stay where they are.
std::vector<std::vector<size_t>> pack_launches(const std::vector<Program::Launch>& launches,
                                               const std::vector<KernelBuffer>& buffers,
                                               int64_t most_bytes);

}  // namespace cermet::compiler

#pragma once
// Where expressions are computed, and elements brought from one device to another.
//
// A place is a device as nodes count them (ir::Node::place): 0 is the CPU, 1 + i GPU i; -1 is what
// is computed from constants alone, which can be computed anywhere.

#include <memory>
#include <span>
#include <vector>

#include "cermet/device.h"
#include "compiler/target.h"
#include "ir/node.h"
#include "runtime/gpu_outcome.h"
#include "runtime/signature.h"

namespace cermet::runtime {

// Throws what require_device() throws.
int place_of(const Device& device);
Device device_at(int place);             // the CPU for what can be computed anywhere
Device device_of(const ir::Node& node);  // where it is computed
// Throws Error if there is no such GPU, DeviceError without a driver.
void require_device(const Device& device);

// The elements of an expression that is a buffer already; null for one whose computation failed.
// Memory of someone else is read anew.
std::shared_ptr<const ir::Storage> known_elements(const ir::Node& node);

// Computes the roots, those of one device as one program there, with the numerics that are set now
// or those given. Result i has the elements of root i, row-major.
std::vector<std::shared_ptr<const ir::Storage>> realize_values(std::span<const ir::Value> roots);
std::vector<std::shared_ptr<const ir::Storage>> realize_values(std::span<const ir::Value> roots,
                                                               compiler::Numerics numerics);

// What realize_values would take for temporaries and results.
int64_t planned_bytes(std::span<const ir::Value> roots);

// Runs a request at the place of a GPU on inputs that are like its own, and waits for it if it can
// fail. There are as many results as roots.
void run_on_gpu(int place, const Request& request, std::span<const ir::Value> inputs,
                std::span<std::shared_ptr<const ir::Storage>> results);

// The outcome of what computed the elements, if it is not known to be good (runtime/open_runs.h).
std::shared_ptr<Outcome> outcome_of(const ir::Storage& elements);
// Waits until it is known. Returns whether it is good.
bool wait_for(const ir::Storage& elements);

// As realize_values, and waits until it is known whether an index is out of range: throws that.
std::vector<std::shared_ptr<const ir::Storage>> realize_now(std::span<const ir::Value> roots,
                                                            compiler::Numerics numerics);

// The elements of the value on this device, as a Data node: computed where it belongs, or there if
// that is anywhere, and copied. The gradient is brought back to where the value is. Throws what
// realizing throws; DeviceError if there is no such device.
ir::Value value_on(const ir::Value& value, const Device& device);
// The elements that it has there.
std::shared_ptr<const ir::Storage> elements_on(const ir::Value& value, int place);

// For memory that the outside sees (runtime/tensor_state.h), on any device.
//
// A storage of the same elements for that. The same memory if nobody else has it, which `alone`
// says, else a copy.
std::shared_ptr<const ir::Storage> given_out(const ir::Storage& elements, size_t bytes, bool alone);
// Writes elements of its device to the memory of such a storage, and returns a new one of it. With
// `keep` the old storage shows a copy of what was there before.
std::shared_ptr<const ir::Storage> rewritten(const ir::Storage& home, const ir::Storage& elements,
                                             size_t bytes, bool keep);
// Where the memory is, for the host, or for work that is given to the current stream next.
void* address_of(const ir::Storage& storage);

// Copies a storage's elements to the host, from wherever they are. Throws Error if computing them
// found an index out of range.
void read_elements(const ir::Storage& storage, size_t bytes, void* to);

}  // namespace cermet::runtime

#include "runtime/devices.h"

#include <algorithm>
#include <cstring>
#include <map>

#include "ir/build.h"
#include "runtime/deferred_copy.h"
#include "runtime/engine.h"
#include "runtime/gpu_engine.h"
#include "runtime/memory_budget.h"
#include "runtime/numerics.h"
#include "runtime/open_runs.h"
#include "runtime/step_recorder.h"
#include "runtime/storage.h"

namespace cermet::runtime {

int place_of(const Device& device) {
  require_device(device);
  return device.kind == Device::Kind::Cpu ? 0 : 1 + device.index;
}

namespace {

std::vector<std::shared_ptr<const ir::Storage>> realize_at(int place,
                                                           std::span<const ir::Value> roots,
                                                           compiler::Numerics numerics) {
  refuse_while_recording();
  const int64_t budget = current_memory_budget();
  if (place <= 0) return default_engine().realize(roots, numerics, budget);
  std::vector<std::shared_ptr<const ir::Storage>> out;
  out.reserve(roots.size());
  for (auto& storage : gpu_engine(place - 1).realize(roots, numerics, budget))
    out.push_back(std::move(storage));
  return out;
}

// Waits for the outcome and throws what it says.
void require_right(const ir::Storage& elements) {
  if (const std::shared_ptr<Outcome> outcome = outcome_of(elements)) {
    outcome->wait();
    outcome->check();
  }
}

// Lets a stream come after those that wrote the elements.
void use(const DeviceStorage& elements, const cuda::Stream& stream) {
  if (elements.borrowed())
    elements.buffer().written_by(stream);
  else
    elements.buffer().read_by(stream);
}

std::shared_ptr<const ir::Storage> copied(const ir::Storage& from, size_t bytes, int place) {
  if (place > 0 && from.place() == 0) return gpu_engine(place - 1).upload(from, bytes);
  if (place == 0) {
    const Buffer to = default_engine().allocator().allocate(bytes);
    read_elements(from, bytes, to.data());
    return std::make_shared<const BufferStorage>(to);
  }
  // Between GPUs: the other's work is waited for, then the bytes go directly.
  require_right(from);
  cuda::Device& target = gpu_engine(place - 1).device();
  cuda::Device& source = gpu_engine(from.place() - 1).device();
  const auto& elements = dynamic_cast<const DeviceStorage&>(from);
  const cuda::DeviceBuffer buffer = elements.buffer();
  cuda::DeviceBuffer to = target.allocate(bytes);
  use(elements, target.stream());
  cuda::copy(to.address(), *target.card(), buffer.address(), *source.card(), bytes,
             target.stream());
  return std::make_shared<const DeviceStorage>(std::move(to));
}

}  // namespace

std::shared_ptr<Outcome> outcome_of(const ir::Storage& elements) {
  if (elements.place() == 0) return nullptr;
  const auto* there = dynamic_cast<const DeviceStorage*>(&elements);
  return there ? there->outcome() : nullptr;
}

Device device_at(int place) {
  return place <= 0 ? Device() : Device{Device::Kind::Cuda, place - 1};
}

Device device_of(const ir::Node& node) { return device_at(node.place); }

void require_device(const Device& device) {
  if (device.kind == Device::Kind::Cuda) gpu_engine(device.index);
}

std::shared_ptr<const ir::Storage> known_elements(const ir::Node& node) {
  auto known = node.op == ir::Op::Data ? node.as<ir::DataAttr>().storage : node.value();
  if (const auto* copy = dynamic_cast<const DeferredCopy*>(known.get())) known = copy->known();
  if (!known || known->borrowed() || known->failed()) return nullptr;
  return known;
}

namespace {

// Whether it is a copy that was deferred, and made by now.
bool is_deferred(const ir::Node& node) {
  return node.op == ir::Op::Data &&
         dynamic_cast<const DeferredCopy*>(node.as<ir::DataAttr>().storage.get()) != nullptr;
}

// Which of the roots are computed at each place.
std::map<int, std::vector<size_t>> by_place(std::span<const ir::Value> roots) {
  std::map<int, std::vector<size_t>> out;
  for (size_t i = 0; i < roots.size(); ++i)
    if (!is_deferred(*roots[i])) out[std::max<int>(0, roots[i]->place)].push_back(i);
  return out;
}

}  // namespace

void run_on_gpu(int place, const Request& request, std::span<const ir::Value> inputs,
                std::span<std::shared_ptr<const ir::Storage>> results) {
  auto computed = gpu_engine(place - 1).run(request, inputs);
  for (size_t i = 0; i < computed.size(); ++i) results[i] = std::move(computed[i]);
  for (const auto& elements : results) require_right(*elements);
}

std::vector<std::shared_ptr<const ir::Storage>> realize_values(std::span<const ir::Value> roots) {
  return realize_values(roots, current_numerics());
}

std::vector<std::shared_ptr<const ir::Storage>> realize_values(std::span<const ir::Value> roots,
                                                               compiler::Numerics numerics) {
  resolve_below(roots);
  if (roots.size() == 1 && roots[0]->op != ir::Op::Data)
    return realize_at(std::max<int>(0, roots[0]->place), roots, numerics);
  std::vector<std::shared_ptr<const ir::Storage>> out(roots.size());
  for (size_t i = 0; i < roots.size(); ++i)
    if (is_deferred(*roots[i])) out[i] = known_elements(*roots[i]);
  for (const auto& [place, which] : by_place(roots)) {
    std::vector<ir::Value> here;
    for (size_t i : which) here.push_back(roots[i]);
    auto results = realize_at(place, here, numerics);
    for (size_t k = 0; k < which.size(); ++k) out[which[k]] = std::move(results[k]);
  }
  return out;
}

int64_t planned_bytes(std::span<const ir::Value> roots) {
  int64_t bytes = 0;
  for (const auto& [place, which] : by_place(roots)) {
    std::vector<ir::Value> here;
    for (size_t i : which) here.push_back(roots[i]);
    const Request request = make_request(here);
    compiler::Target target =
        place == 0 ? default_engine().target() : gpu_engine(place - 1).target();
    target.numerics = current_numerics();
    target.memory_budget = current_memory_budget();
    bytes += compiler::planned_bytes(make_graph(request), target);
  }
  return bytes;
}

std::vector<std::shared_ptr<const ir::Storage>> realize_now(std::span<const ir::Value> roots,
                                                            compiler::Numerics numerics) {
  auto out = realize_values(roots, numerics);
  for (const auto& elements : out) require_right(*elements);
  return out;
}

bool wait_for(const ir::Storage& elements) {
  const std::shared_ptr<Outcome> outcome = outcome_of(elements);
  if (outcome) outcome->wait();
  return !outcome || outcome->good();
}

ir::Value value_on(const ir::Value& value, const Device& device) {
  const int place = place_of(device);
  if (device_of(*value) == device) return value;
  if (StepRecorder::active() && value->place < 0 && value->op != ir::Op::Data)
    return with_way_back(StepRecorder::placed(value, place), value);
  return with_way_back(ir::data(elements_on(value, place), value->dtype, value->shape), value);
}

std::shared_ptr<const ir::Storage> elements_on(const ir::Value& value, int place) {
  refuse_move_while_recording(value, known_elements(*value).get(), place);
  const size_t bytes = size_t(value->numel()) * size_of(value->dtype);
  if (value->place > 0) settle_runs(Settle::All, value->place);
  if (value->place < 0 && value->op != ir::Op::Data) {
    resolve_below(std::span(&value, 1));
    auto storage = realize_at(place, std::span(&value, 1), current_numerics())[0];
    require_right(*storage);
    return storage;
  }
  const auto known = known_elements(*value);
  return copied(known ? *known : *realize_values(std::span(&value, 1))[0], bytes, place);
}

namespace {

Buffer host_copy(const Buffer& memory, size_t bytes) {
  Buffer copy = default_engine().allocator().allocate(bytes);
  if (bytes > 0) std::memcpy(copy.data(), memory.data(), bytes);
  return copy;
}

// From what the current stream may read to what it may write, of one GPU.
void copy_within(const cuda::DeviceBuffer& to, const cuda::DeviceBuffer& from, size_t bytes,
                 const cuda::Device& device) {
  cuda::copy(to.address(), *device.card(), from.address(), *device.card(), bytes, device.stream());
}

cuda::DeviceBuffer device_copy(const DeviceStorage& elements, size_t bytes) {
  cuda::Device& device = gpu_engine(elements.place() - 1).device();
  cuda::DeviceBuffer copy = device.allocate(bytes);
  use(elements, device.stream());
  copy_within(copy, elements.buffer(), bytes, device);
  return copy;
}

}  // namespace

std::shared_ptr<const ir::Storage> given_out(const ir::Storage& elements, size_t bytes,
                                             bool alone) {
  if (const auto* there = dynamic_cast<const DeviceStorage*>(&elements))
    return DeviceStorage::borrowed_from(alone ? there->buffer() : device_copy(*there, bytes));
  const Buffer memory = buffer_of(elements);
  return std::make_shared<const BufferStorage>(alone ? memory : host_copy(memory, bytes), true);
}

std::shared_ptr<const ir::Storage> rewritten(const ir::Storage& home, const ir::Storage& elements,
                                             size_t bytes, bool keep) {
  if (const auto* there = dynamic_cast<const DeviceStorage*>(&home)) {
    const auto& fresh = dynamic_cast<const DeviceStorage&>(elements);
    cuda::Device& device = gpu_engine(there->place() - 1).device();
    const cuda::DeviceBuffer memory = there->buffer();
    if (keep) there->replace(device_copy(*there, bytes));
    memory.written_by(device.stream());
    use(fresh, device.stream());
    copy_within(memory, fresh.buffer(), bytes, device);
    return DeviceStorage::borrowed_from(memory);
  }
  const auto& storage = dynamic_cast<const BufferStorage&>(home);
  const Buffer memory = storage.buffer();
  if (keep) storage.move_to(host_copy(memory, bytes));
  if (bytes > 0) std::memcpy(memory.data(), buffer_of(elements).data(), bytes);
  return std::make_shared<const BufferStorage>(memory, true);
}

void* address_of(const ir::Storage& storage) {
  const auto* there = dynamic_cast<const DeviceStorage*>(&storage);
  if (!there) return buffer_of(storage).data();
  const cuda::DeviceBuffer buffer = there->buffer();
  buffer.written_by(gpu_engine(there->place() - 1).device().stream());
  return reinterpret_cast<void*>(buffer.address());
}

void read_elements(const ir::Storage& storage, size_t bytes, void* to) {
  if (bytes == 0) return;
  if (const auto* there = dynamic_cast<const DeviceStorage*>(&storage)) {
    cuda::Device& device = gpu_engine(there->place() - 1).device();
    use(*there, device.stream());
    device.copy_to_host({static_cast<std::byte*>(to), bytes}, there->buffer().address());
    require_right(storage);
  } else {
    std::memcpy(to, buffer_of(storage).data(), bytes);
  }
}

}  // namespace cermet::runtime

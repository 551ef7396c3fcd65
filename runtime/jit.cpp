// Steps: programs that were recorded from a function, and running them on new elements. What the
// function saw is in include/cermet/jit.h, how that is recorded in runtime/step_recorder.h.

#include "cermet/jit.h"

#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <optional>

#include "runtime/devices.h"
#include "runtime/engine.h"
#include "runtime/memory_budget.h"
#include "runtime/numerics.h"
#include "runtime/step_recorder.h"
#include "runtime/tensor_state.h"

namespace cermet::runtime {
namespace {

constexpr size_t most_programs = 64;

// The elements of a cell now, as a Data node.
ir::Value elements_of(const std::shared_ptr<TensorState>& whole, const SourceLocation& where) {
  while (true) {
    const ir::Value value = whole->cell()->value();
    if (value->op == ir::Op::Data) return value;
    if (value->requires_grad)
      throw Error("jit: a captured tensor has got gradient history; use detach()", where);
    realize_states(std::span(&whole, 1), where);
    const auto elements = whole->cell()->elements();
    if (elements && whole->cell()->value() == value)
      return ir::data(elements, value->dtype, value->shape);
  }
}

// An argument's elements, row-major, as a Data node.
ir::Value elements_of(const Tensor& argument, const SourceLocation& where) {
  if (!argument.defined()) throw Error("jit: an argument is undefined", where);
  const std::shared_ptr<TensorState>& state = argument.state();
  if (state->requires_grad())
    throw Error("jit: an argument requires grad; let the function capture it, or give its detach()",
                where);
  const ir::Value value = state->value();
  if (value->op == ir::Op::Data) return value;
  argument.realize(where);
  // A view of other elements is copied.
  const ir::Value now = state->value();
  if (now->op == ir::Op::Data) return now;
  return elements_of(make_tensor(now).state(), where);
}

// What programs are looked up by.
struct StepKey {
  SmallVector<int64_t, 32> words;
  friend bool operator==(const StepKey&, const StepKey&) = default;
};

// Where an input of a request comes from.
struct Slot {
  enum class Kind : uint8_t { Argument, Captured, Key, Fixed } kind = Kind::Fixed;
  size_t index = 0;  // of the arguments, the captured cells, the keys
};

// What is computed on one device.
struct Part {
  int place;
  std::vector<ir::Value> roots = {};  // they keep the nodes of the request alive
  Request request = {};
  std::shared_ptr<const Engine::Plan> plan = nullptr;  // on the CPU
  bool plan_known = false;                             // before it was recorded
  std::vector<Slot> slots = {};                        // by input
  size_t first_result = 0;                             // among those of all parts
};

struct Root {
  size_t part, index;
};

struct StepProgram {
  StepKey key;
  std::vector<std::shared_ptr<TensorState>> captured;
  size_t key_count = 0;
  std::vector<Part> parts;
  std::vector<Root> results;
  std::vector<std::pair<size_t, Root>> updates;  // of which captured cell
  size_t root_count = 0;

  Root add_root(int place, const ir::Value& value) {
    auto part = std::ranges::find(parts, place, &Part::place);
    if (part == parts.end()) part = parts.insert(part, Part{place});
    part->roots.push_back(value);
    return {size_t(part - parts.begin()), part->roots.size() - 1};
  }
};

// The program of a recording that is over: requests, and where their inputs come from.
class ProgramMaker {
 public:
  ProgramMaker(const StepRecorder& recorder, std::span<const ir::Value> arguments)
      : recorder_(recorder), arguments_(arguments) {}

  std::shared_ptr<StepProgram> make(StepKey key, std::span<const Tensor> results) {
    out_->key = std::move(key);
    out_->key_count = recorder_.keys().size();
    for (const Tensor& result : results) {
      const ir::Value value = result.state()->value();
      out_->results.push_back(out_->add_root(std::max<int>(0, value->place), value));
    }
    for (size_t i = 0; i < recorder_.captured().size(); ++i) {
      const StepRecorder::Captured& captured = recorder_.captured()[i];
      out_->captured.push_back(std::make_shared<TensorState>(captured.cell));
      const int place = std::max<int>(0, captured.placeholder->place);
      if (captured.value != captured.placeholder)
        out_->updates.emplace_back(i, out_->add_root(place, captured.value));
    }
    for (Part& part : out_->parts) {
      part.roots = StepRecorder::without_placed(part.roots);
      part.request = make_request(part.roots, current_numerics(), current_memory_budget());
      for (const ir::Value& input : part.request.inputs) part.slots.push_back(slot_of(input));
      part.first_result = out_->root_count;
      out_->root_count += part.roots.size();
    }
    for (size_t k = 0; k < key_used_.size(); ++k)
      if (!key_used_[k])
        throw Error(
            "jit: a key of next_key() that is split, folded or not used would be the same in each "
            "call; give it as a tensor's elements, or draw from it directly");
    return out_;
  }

 private:
  Slot slot_of(const ir::Value& input) {
    if (const auto at = std::ranges::find(arguments_, input); at != arguments_.end())
      return {Slot::Kind::Argument, size_t(at - arguments_.begin())};
    for (size_t i = 0; i < recorder_.captured().size(); ++i)
      if (recorder_.captured()[i].placeholder == input) return {Slot::Kind::Captured, i};
    if (input->op == ir::Op::Constant && input->dtype == DType::U64)
      for (size_t k = 0; k < key_used_.size(); ++k)
        if (recorder_.keys()[k].value == input->as<ir::ConstantAttr>().bits) {
          key_used_[k] = true;
          return {Slot::Kind::Key, k};
        }
    return {};
  }

  const StepRecorder& recorder_;
  const std::span<const ir::Value> arguments_;  // placeholders
  std::vector<bool> key_used_ = std::vector<bool>(recorder_.keys().size());
  std::shared_ptr<StepProgram> out_ = std::make_shared<StepProgram>();
};

using Lists = std::span<const std::span<const Tensor>>;

// Calls the function on placeholders and makes a program of what it did.
std::shared_ptr<StepProgram> record(const UntypedStep::Function& function, StepKey key, Lists lists,
                                    std::span<const ir::Value> elements) {
  StepRecorder recorder;
  struct GradientsBack {
    StepRecorder& recorder;
    ~GradientsBack() { recorder.restore_gradients(); }
  } const back{recorder};
  std::vector<ir::Value> placeholders;
  std::vector<std::vector<Tensor>> arguments;
  std::vector<Tensor> results;
  {
    const StepRecorder::Scope scope(recorder);
    for (const std::span<const Tensor> list : lists) {
      arguments.emplace_back();
      for (size_t i = 0; i < list.size(); ++i) {
        const ir::Node& like = *elements[placeholders.size()];
        placeholders.push_back(StepRecorder::placeholder(like.dtype, like.shape, like.place));
        arguments.back().push_back(make_tensor(placeholders.back()));
      }
    }
    results = function(arguments);
    for (const Tensor& result : results)
      if (!result.defined()) throw Error("jit: the function returns an undefined tensor");
    size_t next = 0;
    for (const std::vector<Tensor>& list : arguments)
      for (const Tensor& argument : list)
        if (argument.state()->cell()->value() != placeholders[next++])
          throw Error(
              "jit: the function writes to an argument; let it capture the tensor, or "
              "return what was written");
    auto program = ProgramMaker(recorder, placeholders).make(std::move(key), results);
    arguments.clear(), results.clear();
    if (recorder.restore_gradients())
      throw Error(
          "jit: the function leaves a gradient in a captured leaf; clear it with "
          "set_grad(Tensor()), or use grad(), which leaves none");
    return program;
  }
}

// `known`: whether it ran before.
std::vector<Tensor> run(const StepProgram& program, bool known,
                        std::span<const ir::Value> arguments, const SourceLocation& where) {
  SmallVector<ir::Value, 8> captured;
  for (const auto& state : program.captured) captured.push_back(elements_of(state, where));
  SmallVector<uint64_t, 4> keys;
  for (size_t k = 0; k < program.key_count; ++k) keys.push_back(next_key().value);

  SmallVector<std::shared_ptr<const ir::Storage>, 8> elements(program.root_count);
  for (const Part& part : program.parts) {
    SmallVector<ir::Value, 16> inputs;
    for (size_t i = 0; i < part.slots.size(); ++i) {
      const Slot& slot = part.slots[i];
      switch (slot.kind) {
        case Slot::Kind::Argument: inputs.push_back(arguments[slot.index]); break;
        case Slot::Kind::Captured: inputs.push_back(captured[slot.index]); break;
        case Slot::Kind::Key:
          inputs.push_back(ir::constant_bits(DType::U64, {}, keys[slot.index]));
          break;
        case Slot::Kind::Fixed: inputs.push_back(part.request.inputs[i]); break;
      }
    }
    const auto results = std::span(elements.data() + part.first_result, part.roots.size());
    if (part.plan)
      default_engine().run(*part.plan, known || part.plan_known, inputs, results);
    else
      run_on_gpu(part.place, part.request, inputs, results);
  }

  const auto node_of = [&](const Root& root) {
    return program.parts[root.part].roots[root.index].get();
  };
  const auto elements_of_root = [&](const Root& root) -> auto& {
    return elements[program.parts[root.part].first_result + root.index];
  };
  for (const auto& [which, root] : program.updates) {
    const auto& cell = program.captured[which]->cell();
    const auto& fresh = elements_of_root(root);
    const ir::Value value = ir::data(fresh, node_of(root)->dtype, node_of(root)->shape);
    cell->assign(value, cell);
    cell->computed(value, fresh);
  }
  std::vector<Tensor> out;
  out.reserve(program.results.size());
  for (const Root& root : program.results)
    out.push_back(make_tensor(elements_of_root(root), node_of(root)->dtype, node_of(root)->shape));
  return out;
}

}  // namespace

class StepPrograms {
 public:
  explicit StepPrograms(UntypedStep::Function function) : function_(std::move(function)) {}
  const UntypedStep::Function& function() const { return function_; }

  std::shared_ptr<const StepProgram> find(const StepKey& key) const {
    const std::lock_guard lock(mutex_);
    const auto at = std::ranges::find(programs_, key, [](const auto& p) { return p->key; });
    return at == programs_.end() ? nullptr : *at;
  }
  void keep(std::shared_ptr<const StepProgram> program) {
    const std::lock_guard lock(mutex_);
    programs_.push_front(std::move(program));
    if (programs_.size() > most_programs) programs_.pop_back();
  }

 private:
  const UntypedStep::Function function_;
  mutable std::mutex mutex_;                                 // guards what follows
  std::deque<std::shared_ptr<const StepProgram>> programs_;  // the newest first
};

UntypedStep::UntypedStep(Function function)
    : programs_(std::make_shared<StepPrograms>(std::move(function))) {}

std::vector<Tensor> UntypedStep::run(Lists lists, const SourceLocation& where) const {
  if (StepRecorder::active()) {  // part of another step
    std::vector<std::vector<Tensor>> arguments;
    for (const std::span<const Tensor> list : lists)
      arguments.emplace_back(list.begin(), list.end());
    return programs_->function()(arguments);
  }
  return located(where, [&] {
    StepKey key;
    const compiler::Numerics numerics = current_numerics();
    key.words.push_back(int64_t(numerics.fast) | int64_t(numerics.tf32) << 1 |
                        int64_t(grad_mode()) << 2);
    key.words.push_back(current_memory_budget());
    SmallVector<ir::Value, 8> arguments;
    for (const std::span<const Tensor> list : lists) {
      key.words.push_back(int64_t(list.size()));
      for (const Tensor& tensor : list) {
        arguments.push_back(elements_of(tensor, where));
        const ir::Node& node = *arguments.back();
        key.words.push_back(int64_t(node.dtype) | int64_t(node.shape.size()) << 8 |
                            int64_t(node.place) << 32);
        key.words.append(node.shape.begin(), node.shape.end());
      }
    }
    std::shared_ptr<const StepProgram> program = programs_->find(key);
    const bool known = program != nullptr;
    if (!known) {
      const auto fresh = record(programs_->function(), std::move(key), lists, arguments);
      for (Part& part : fresh->parts)
        if (part.place == 0) part.plan = default_engine().plan_for(part.request, part.plan_known);
      programs_->keep(program = fresh);
    }
    return runtime::run(*program, known, arguments, where);
  });
}

}  // namespace cermet::runtime

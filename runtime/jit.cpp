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

// Smaller tensors are not worth that others wait for them.
constexpr int64_t least_written_over = 4096;  // bytes

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

// An argument that is given up.
struct Donated {
  std::shared_ptr<Cell> cell;
  std::string name;       // "argument 0"
  size_t index;           // of the arguments
  const ir::Node* value;  // of the cell; kept by the list of arguments, or by the next one
  ir::Value viewed;       // of which the argument shows a view, and so was copied
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
  ProgramMaker(const StepRecorder& recorder, std::span<const ir::Value> arguments,
               std::span<const Donated> donated)
      : recorder_(recorder), arguments_(arguments), donated_(donated) {}

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
      part.request =
          make_request(part.roots, current_numerics(), current_memory_budget(), written_over(part));
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
  // Placeholders that need not be what they were after the part. With parts on several devices, all
  // are unchanged until none can fail any more.
  std::vector<ir::Value> written_over(const Part& part) const {
    std::vector<ir::Value> out;
    if (part.place != 0 || out_->parts.size() > 1) return out;
    const auto add = [&](const ir::Value& value) {
      if (value->numel() * int64_t(size_of(value->dtype)) >= least_written_over)
        out.push_back(value);
    };
    for (const Donated& donated : donated_) add(arguments_[donated.index]);
    for (const auto& [which, root] : out_->updates) add(recorder_.captured()[which].placeholder);
    return out;
  }

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
  const std::span<const Donated> donated_;
  std::vector<bool> key_used_ = std::vector<bool>(recorder_.keys().size());
  std::shared_ptr<StepProgram> out_ = std::make_shared<StepProgram>();
};

using Lists = std::span<const std::span<const Tensor>>;

// Calls the function on placeholders and makes a program of what it did.
std::shared_ptr<StepProgram> record(const UntypedStep::Function& function, StepKey key, Lists lists,
                                    std::span<const ir::Value> elements,
                                    std::span<const Donated> donated) {
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
    auto program = ProgramMaker(recorder, placeholders, donated).make(std::move(key), results);
    arguments.clear(), results.clear();
    if (recorder.restore_gradients())
      throw Error(
          "jit: the function leaves a gradient in a captured leaf; clear it with "
          "set_grad(Tensor()), or use grad(), which leaves none");
    return program;
  }
}

// Cells that are held while a program may write over their elements.
class HeldCells {
 public:
  HeldCells() = default;
  HeldCells(const HeldCells&) = delete;
  HeldCells& operator=(const HeldCells&) = delete;
  ~HeldCells() {
    for (Cell* cell : cells_) cell->let_go();
  }

  bool add(Cell& cell, const ir::Value& value) {
    cells_.push_back(&cell);
    const bool held = cell.hold(value);
    if (!held) cells_.pop_back();
    return held;
  }
  bool any() const { return !cells_.empty(); }
  void forget() { cells_.clear(); }  // all were let go of
  void lose() {
    for (; any(); cells_.pop_back())
      cells_.back()->lose(
          std::make_unique<const std::string>("jit: the tensor's elements were lost, because a "
                                              "step failed that was writing over them"));
  }

 private:
  SmallVector<Cell*, 16> cells_;
};

// One run of a program.
class StepRun {
 public:
  // `known`: whether the program ran before.
  StepRun(const StepProgram& program, bool known, std::span<const ir::Value> arguments,
          std::span<const Donated> donated, const SourceLocation& where)
      : program_(program), known_(known), arguments_(arguments), donated_(donated), where_(where) {
    for (const auto& state : program.captured) captured_.push_back(elements_of(state, where));
    for (const Donated& given : donated)
      for (const auto& state : program.captured)
        if (state->cell() == given.cell)
          throw Error(
              fmt::format("jit: {} is donated, and the function captures it as well", given.name),
              where);
  }

  std::vector<Tensor> run() {
    compute();
    std::vector<Tensor> out;
    out.reserve(program_.results.size());
    for (const Root& root : program_.results)
      out.push_back(
          make_tensor(elements_of_root(root), node_of(root)->dtype, node_of(root)->shape));
    return out;
  }

 private:
  const ir::Node* node_of(const Root& root) const {
    return program_.parts[root.part].roots[root.index].get();
  }
  const std::shared_ptr<const ir::Storage>& elements_of_root(const Root& root) const {
    return elements_[program_.parts[root.part].first_result + root.index];
  }

  ir::Value input_of(const Part& part, size_t i) const {
    const Slot& slot = part.slots[i];
    switch (slot.kind) {
      case Slot::Kind::Argument: return arguments_[slot.index];
      case Slot::Kind::Captured: return captured_[slot.index];
      case Slot::Kind::Key: return ir::constant_bits(DType::U64, {}, keys_[slot.index]);
      case Slot::Kind::Fixed: return part.request.inputs[i];
    }
    throw InternalError("an input from nowhere");
  }

  // Holds what nobody else needs. From here on nothing is waited for that could need it: the
  // caller's loop of threads may do other work meanwhile, and so does not get any.
  void hold(const Part& part) {
    if (part.request.donated.empty() || default_engine().threads().borrows()) return;
    overwriting_.allowed.resize(part.slots.size());
    for (const int64_t input : part.request.donated) {
      const Slot& slot = part.slots[size_t(input)];
      if (slot.kind == Slot::Kind::Captured) {
        overwriting_.allowed[size_t(input)] = held_captured_[slot.index] =
            held_.add(*program_.captured[slot.index]->cell(), captured_[slot.index]);
      } else if (slot.kind == Slot::Kind::Argument) {
        const auto i =
            size_t(std::ranges::find(donated_, slot.index, &Donated::index) - donated_.begin());
        overwriting_.allowed[size_t(input)] = held_arguments_[i] =
            held_.add(*donated_[i].cell, arguments_[slot.index]);
      }
    }
  }

  void compute() {
    for (size_t k = 0; k < program_.key_count; ++k) keys_.push_back(next_key().value);
    held_captured_.resize(captured_.size()), held_arguments_.resize(donated_.size());
    SmallVector<Cell::Reason, 4> reasons;  // by donated argument
    try {
      for (const Part& part : program_.parts) {
        hold(part);
        SmallVector<ir::Value, 16> inputs;
        for (size_t i = 0; i < part.slots.size(); ++i) inputs.push_back(input_of(part, i));
        const auto results = std::span(elements_.data() + part.first_result, part.roots.size());
        if (part.plan)
          default_engine().run(*part.plan, known_ || part.plan_known, inputs, results,
                               held_.any() ? &overwriting_ : nullptr);
        else
          run_on_gpu(part.place, part.request, inputs, results);
      }
      for (size_t i = 0; i < donated_.size(); ++i)
        reasons.push_back(std::make_unique<const std::string>(fmt::format(
            "jit: the tensor was donated to the step that was called at {}:{}, and has no elements "
            "any more",
            where_.file_name(), where_.line())));
    } catch (...) {
      if (overwriting_.begun) held_.lose();
      throw;
    }
    finish(reasons);
  }

  // Lets go of all that is held before anything is waited for.
  void finish(std::span<Cell::Reason> reasons) {
    for (const auto& [which, root] : program_.updates)
      if (held_captured_[which]) program_.captured[which]->cell()->let_go(elements_of_root(root));
    for (size_t i = 0; i < donated_.size(); ++i)
      if (held_arguments_[i]) donated_[i].cell->lose(std::move(reasons[i]));
    held_.forget();
    for (const auto& [which, root] : program_.updates) {
      if (held_captured_[which]) continue;
      const auto& cell = program_.captured[which]->cell();
      const auto& fresh = elements_of_root(root);
      const ir::Value value = ir::data(fresh, node_of(root)->dtype, node_of(root)->shape);
      cell->assign(value, cell);
      cell->computed(value, fresh);
    }
    for (size_t i = 0; i < donated_.size(); ++i)
      if (!held_arguments_[i]) donated_[i].cell->lose(*donated_[i].value, std::move(reasons[i]));
  }

  const StepProgram& program_;
  const bool known_;
  const std::span<const ir::Value> arguments_;
  const std::span<const Donated> donated_;
  const SourceLocation& where_;
  SmallVector<ir::Value, 8> captured_;
  SmallVector<uint8_t, 8> held_captured_, held_arguments_;  // of donated_
  SmallVector<uint64_t, 4> keys_;
  HeldCells held_;
  Overwriting overwriting_;
  SmallVector<std::shared_ptr<const ir::Storage>, 8> elements_{program_.root_count};
};

}  // namespace

class StepPrograms {
 public:
  StepPrograms(UntypedStep::Function function, std::vector<bool> donates)
      : function_(std::move(function)), donates_(std::move(donates)) {}
  const UntypedStep::Function& function() const { return function_; }
  // By argument; empty if none is donated.
  const std::vector<bool>& donates() const { return donates_; }

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
  const std::vector<bool> donates_;
  mutable std::mutex mutex_;                                 // guards what follows
  std::deque<std::shared_ptr<const StepProgram>> programs_;  // the newest first
};

UntypedStep::UntypedStep(Function function, const std::vector<int>& donate, int arguments,
                         const SourceLocation& where) {
  std::vector<bool> donates;
  for (const int which : donate) {
    if (which < 0 || which >= arguments)
      throw Error(
          fmt::format("jit: argument {} is to be donated, and there are {}", which, arguments),
          where);
    donates.resize(size_t(arguments));
    donates[size_t(which)] = true;
  }
  programs_ = std::make_shared<StepPrograms>(std::move(function), std::move(donates));
}

namespace {

// What is donated of a call's arguments, whose elements exist. Throws Error for what cannot be.
std::vector<Donated> donated_of(Lists lists, const std::vector<bool>& donates,
                                std::span<const ir::Value> elements, const SourceLocation& where) {
  std::vector<Donated> all;  // the arguments, in order
  std::vector<Donated> out;
  for (size_t l = 0; l < lists.size(); ++l)
    for (size_t i = 0; i < lists[l].size(); ++i) {
      const TensorState& state = *lists[l][i].state();
      Donated one{state.cell(),
                  lists[l].size() == 1 ? fmt::format("argument {}", l)
                                       : fmt::format("argument {}[{}]", l, i),
                  all.size(),
                  nullptr,
                  {}};
      all.push_back(one);
      if (!donates[l]) continue;
      if (ir::Value value = one.cell->value();
          (one.value = value.get()) != elements[one.index].get())
        one.viewed = std::move(value);
      if (numel(state.shape()) != one.value->numel())
        throw Error(fmt::format("jit: {} is donated, and shows {} of {} elements; donate its "
                                "clone()",
                                one.name, numel(state.shape()), one.value->numel()),
                    where);
      if (one.cell->has_home())
        throw Error(fmt::format("jit: {} is donated, and its memory can be seen from outside; "
                                "donate its clone()",
                                one.name),
                    where);
      out.push_back(one);
    }
  for (const Donated& one : out)
    for (const Donated& other : all)
      if (other.cell == one.cell && other.index != one.index)
        throw Error(
            fmt::format("jit: {} is donated, and is the same tensor as {}", one.name, other.name),
            where);
  return out;
}

}  // namespace

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
    std::vector<Donated> donated;
    if (!programs_->donates().empty())
      donated = donated_of(lists, programs_->donates(), arguments, where);
    std::shared_ptr<const StepProgram> program = programs_->find(key);
    const bool known = program != nullptr;
    if (!known) {
      const auto fresh = record(programs_->function(), std::move(key), lists, arguments, donated);
      for (Part& part : fresh->parts)
        if (part.place == 0) part.plan = default_engine().plan_for(part.request, part.plan_known);
      programs_->keep(program = fresh);
    }
    return StepRun(*program, known, arguments, donated, where).run();
  });
}

}  // namespace cermet::runtime

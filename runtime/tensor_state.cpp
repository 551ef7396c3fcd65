#include "runtime/tensor_state.h"

#include <algorithm>
#include <cstring>

#include "ir/check.h"
#include "ir/view_transpose.h"
#include "runtime/devices.h"
#include "runtime/open_runs.h"
#include "runtime/pending_updates.h"

namespace cermet::runtime {
namespace {

// Passes the adjoint of what is there now on to what was there before.
class Unrecorded : public ir::GradientRule {
 public:
  std::vector<ir::Value> operands_adjoints(std::span<const ir::Value>, const ir::Value&,
                                           const ir::Value& adjoint) const override {
    return {adjoint};
  }
};

// What a cell shows instead of `old` by a write that gradients do not see.
ir::Value unrecorded(const ir::Value& fresh, const ir::Value& old) {
  return ir::custom_gradient(ir::stop_gradient(fresh), std::span(&old, 1),
                             std::make_shared<const Unrecorded>());
}

bool shows(const ir::Node& node, const ir::Storage& elements) {
  return node.op == ir::Op::Data && node.as<ir::DataAttr>().storage.get() == &elements;
}

}  // namespace

ir::Value as_recorded(ir::Value value) {
  while (value->op == ir::Op::CustomGradient &&
         dynamic_cast<const Unrecorded*>(value->as<ir::CustomGradientAttr>().rule.get()))
    value = value->operands[1];
  return value;
}

Tensor Gradient::get() const {
  std::lock_guard lock(mutex_);
  return gradient_;
}
void Gradient::set(Tensor gradient) {
  if (StepRecorder* recorder = StepRecorder::active())
    recorder->remember(shared_from_this(), get());
  std::lock_guard lock(mutex_);
  std::swap(gradient_, gradient);
}

bool Gradient::replace(Tensor gradient) {
  std::lock_guard lock(mutex_);
  const auto state = [](const Tensor& t) { return t.defined() ? t.state().get() : nullptr; };
  std::swap(gradient_, gradient);
  return state(gradient_) != state(gradient);
}

// What was there is released outside of the lock: graphs may hang on it.
void Gradient::add(const ir::Value& more) {
  if (StepRecorder* recorder = StepRecorder::active())
    recorder->remember(shared_from_this(), get());
  Tensor before;
  std::lock_guard lock(mutex_);
  const bool first = !gradient_.defined();
  auto sum = std::make_shared<TensorState>(first ? more : gradient_.state()->value() + more);
  if (!first) sum->cell()->list(sum->cell());  // an in-place update in all but form
  before = std::exchange(gradient_, Tensor(std::move(sum)));
}

Cell::Cell(std::shared_ptr<const ir::Storage> home, DType dtype, int64_t elements) {
  home_ = value_ = ir::data(home, dtype, {elements});
  elements_ = std::move(home);
}

bool Cell::has_home() const {
  const auto lock = guard();
  return bool(home_);
}

Cell::~Cell() { pending_updates().remove(ticket_); }

// To be called with the lock held.
const ir::Value& Cell::shown() const {
  if (lost_) [[unlikely]]
    throw Error(*lost_);
  if (!value_) value_ = ir::data(elements_, dtype_, shape_);
  return value_;
}

std::unique_lock<ir::SpinLock> Cell::guard() const {
  std::unique_lock lock(lock_);
  while (held_.load(std::memory_order_relaxed)) {
    lock.unlock();
    held_.wait(true, std::memory_order_acquire);
    lock.lock();
  }
  return lock;
}

ir::Value Cell::value() const {
  const auto lock = guard();
  return shown();
}

ir::Value Cell::value_if_any() const {
  const auto lock = guard();
  return lost_ ? ir::Value() : shown();
}

// Who held the memory before has let go of it with a release.
bool Cell::hold(const ir::Value& value) {
  const auto lock = guard();
  if (value_ != value || home_ || !before_.empty() || !open_.empty() || value->op != ir::Op::Data)
    return false;
  const auto& storage = value->as<ir::DataAttr>().storage;
  const auto* ours = dynamic_cast<const BufferStorage*>(storage.get());
  const bool alone = ours && ours->alone() && (!elements_ || elements_ == storage) &&
                     storage.use_count() == (elements_ ? 2 : 1) &&
                     value->references.load(std::memory_order_acquire) == 2;
  if (!alone) return false;
  std::atomic_thread_fence(std::memory_order_acquire);
  dtype_ = value->dtype, shape_ = value->shape;
  held_.store(true, std::memory_order_relaxed);
  return true;
}

void Cell::end_hold() {
  held_.store(false, std::memory_order_release);
  held_.notify_all();
}

void Cell::let_go() noexcept {
  const std::lock_guard lock(lock_);
  end_hold();
}

void Cell::let_go(std::shared_ptr<const ir::Storage> elements) noexcept {
  ir::Value old;  // let go of without the lock
  const std::lock_guard lock(lock_);
  std::swap(value_, old);
  std::swap(elements_, elements);
  end_hold();
}

// Returns what is to be let go of without the lock.
ir::Value Cell::forget(Reason why) {
  pending_updates().remove(ticket_);
  elements_ = nullptr;  // the value has them, too
  before_.clear();
  lost_ = std::move(why);
  return std::exchange(value_, ir::Value());
}

void Cell::lose(Reason why) noexcept {
  ir::Value old;
  const std::lock_guard lock(lock_);
  old = forget(std::move(why));
  end_hold();
}

void Cell::lose(const ir::Node& value, Reason why) {
  ir::Value old;
  const auto lock = guard();
  if (value_.get() == &value) old = forget(std::move(why));
}

void Cell::assign(ir::Value value, const std::weak_ptr<Cell>& self) {
  if (const ir::Value old = this->value(); old->place > 0 || value->place > 0)
    value = value_on(value, device_of(*old));  // a cell stays where it is
  const auto lock = guard();
  CERMET_CHECK(value->shape == shown()->shape && value->dtype == shown()->dtype,
               "a cell of {} is assigned {}", ir::type_string(*shown()), ir::type_string(*value));
  if (value->checks_indices || (value->place > 0 && runs_are_open()))
    before_.push_back(std::move(value_));
  else
    before_.clear();
  std::swap(value_, value);  // what was there is let go of without the lock
  elements_ = nullptr;
  // What was made while a step is recorded cannot be computed.
  if (made_in_ == 0) pending_updates().add(ticket_, self);
}

void Cell::list(const std::weak_ptr<Cell>& self) {
  const auto lock = guard();
  if (!elements_ && made_in_ == 0) pending_updates().add(ticket_, self);
}

void Cell::withhold() {
  const std::lock_guard lock(lock_);
  pending_updates().remove(ticket_);
}

std::vector<ir::Value> Cell::history() const {
  const auto lock = guard();
  std::vector<ir::Value> out = before_;
  if (!lost_) out.push_back(shown());
  return out;
}

void Cell::put_back(const ir::Value& now, const ir::Value& value) {
  const auto lock = guard();
  if (lost_ || shown() != now) return;
  while (!before_.empty() && value_ != value) {
    value_ = std::move(before_.back());
    before_.pop_back();
  }
  elements_ = nullptr;
}

std::shared_ptr<const ir::Storage> Cell::elements() const {
  const auto lock = guard();
  return elements_;
}

bool Cell::has_elements() const {
  const auto lock = guard();
  return elements_ != nullptr;
}

void Cell::computed(const ir::Value& value, std::shared_ptr<const ir::Storage> elements) {
  ir::Value old;  // let go of without the lock
  const auto lock = guard();
  if (value != value_) return;
  elements_ = std::move(elements);
  pending_updates().remove(ticket_);
  const bool replaced = !value_->requires_grad;  // else backward() still needs the history
  if (outcome_of(*elements_)) {
    open_.push_back({elements_.get(), replaced && value_->op != ir::Op::Data});
    if (open_.back().replaced) before_.push_back(value_);
  } else {
    before_.clear();
    open_.clear();
  }
  if (home_) write_home(*elements_);
  if (!replaced) return;
  old = std::exchange(value_, home_);
  dtype_ = old->dtype, shape_ = old->shape;
}

// Takes elements off those whose outcome is not known. Nothing if they are not among them.
std::optional<Cell::Open> Cell::close(const ir::Storage& elements) {
  const auto at = std::ranges::find(open_, &elements, &Open::elements);
  if (at == open_.end()) return std::nullopt;
  const Open out = *at;
  open_.erase(at);
  return out;
}

void Cell::settled(const ir::Storage& elements) {
  const auto lock = guard();
  if (!close(elements)) return;
  const auto at = std::ranges::find_if(
      before_, [&](const ir::Value& value) { return shows(*value, elements); });
  if (at != before_.end())
    before_.erase(before_.begin(), at);
  else if (elements_.get() == &elements)
    before_.clear();
}

void Cell::failed(const ir::Storage& elements, const std::weak_ptr<Cell>& self) {
  const auto lock = guard();
  const std::optional<Open> open = close(elements);
  if (!open || elements_.get() != &elements) return;
  const bool shown_here = shows(*shown(), elements) && open->replaced;
  elements_ = nullptr;
  if (shown_here) {
    value_ = std::move(before_.back());
    before_.pop_back();
  }
  if (!before_.empty()) pending_updates().add(ticket_, self);
}

// Copies the elements to the home. If somebody else still holds the home's Data node, a pending
// expression wants what is there now: that node moves to a copy, and the home gets a new one.
void Cell::write_home(const ir::Storage& elements) {
  const size_t bytes = size_t(home_->numel()) * size_of(home_->dtype);
  const int64_t ours = value_ == home_ ? 2 : 1;
  const bool wanted = home_->references.load() > ours;
  elements_ = rewritten(*home_->as<ir::DataAttr>().storage, elements, bytes, wanted);
  home_ = ir::data(elements_, value_->dtype, value_->shape);
}

// Tensors with equal expressions share the buffer that was computed for them, and pending
// expressions read it: a pointer to it is given out only if nobody else has it, else to a copy.
void* Cell::give_out() {
  const auto lock = guard();
  if (lost_) throw Error(*lost_);
  CERMET_CHECK(elements_ != nullptr, "a pointer to elements that do not exist");
  if (!home_) {
    const bool in_data = shown()->op == ir::Op::Data;
    const bool alone =
        elements_.use_count() == (in_data ? 2 : 1) && (!in_data || value_->references.load() == 1);
    elements_ = given_out(*elements_, size_t(value_->numel()) * size_of(value_->dtype), alone);
    home_ = ir::data(elements_, value_->dtype, value_->shape);
    value_ = value_->requires_grad ? unrecorded(home_, value_) : home_;
  }
  return address_of(*elements_);
}

TensorState::TensorState(ir::Value value) : shape_(value->shape), dtype_(value->dtype) {
  cell_ = std::allocate_shared<Cell>(ir::FreeListAllocator<Cell>(), std::move(value));
}

TensorState::TensorState(std::shared_ptr<Cell> cell) : cell_(std::move(cell)) {
  const ir::Value value = cell_->value();
  shape_ = value->shape, dtype_ = value->dtype;
}

TensorState::TensorState(std::shared_ptr<Cell> cell, DType dtype, const Shape& shape)
    : cell_(std::move(cell)), shape_(shape), dtype_(dtype) {}

TensorState::TensorState(std::shared_ptr<Cell> cell, ir::ViewMap map, DType dtype, bool detached)
    : cell_(std::move(cell)),
      shape_(map.shape()),
      view_(new ir::ViewMap(std::move(map))),
      dtype_(dtype),
      detached_(detached) {}

const ir::ViewMap& TensorState::make_view() const {
  auto made = std::make_unique<const ir::ViewMap>(ir::ViewMap::identity(shape_));
  const ir::ViewMap* known = nullptr;
  if (view_.compare_exchange_strong(known, made.get(), std::memory_order_acq_rel))
    return *made.release();
  return *known;  // another thread's
}

ir::Value TensorState::value() const {
  if (leaf_ && !detached_) return ir::view(leaf_->value(), *leaf_view_);
  ir::Value value = cell_value();
  const ir::ViewMap* view = view_.load(std::memory_order_acquire);
  if (view && (!view->is_identity() || shape_ != value->shape)) value = ir::view(value, *view);
  if (variable_) return ir::leaf(value, variable_);
  return detached_ ? ir::stop_gradient(value) : value;
}

void TensorState::make_leaf() {
  gradient_ = std::make_shared<Gradient>();
  variable_ = std::make_shared<GradVariable>(gradient_);
}

bool TensorState::requires_grad() const {
  if (variable_) return true;
  return !detached_ && (leaf_ ? leaf_->requires_grad() : cell_value()->requires_grad);
}

namespace {

// Whether two elements of a view are at one place. Axes whose step exceeds what the smaller steps
// reach together cannot collide; what is not so simple is counted out.
bool overlaps(const ir::StridedMap& map) {
  std::vector<std::pair<int64_t, int64_t>> axes;  // |stride|, extent
  for (size_t d = 0; d < map.shape.size(); ++d)
    if (map.shape[d] > 1) axes.emplace_back(std::abs(map.strides[d]), map.shape[d]);
  std::ranges::sort(axes);
  int64_t reach = 0;
  bool simple = true;
  for (const auto& [stride, extent] : axes) {
    if (stride == 0) return true;
    simple = simple && stride > reach;
    reach += stride * (extent - 1);
  }
  if (simple) return false;
  std::vector<int64_t> places{0};
  for (const auto& [stride, extent] : axes) {
    const size_t count = places.size();
    for (int64_t i = 1; i < extent; ++i)
      for (size_t k = 0; k < count; ++k) places.push_back(places[k] + i * stride);
  }
  std::ranges::sort(places);
  return std::ranges::adjacent_find(places) != places.end();
}

// A cell's elements, in which a view shows new ones.
ir::Value with_shown(const ir::Value& old, const ir::ViewMap& view, const ir::Value& elements) {
  if (view.is_identity() && elements->numel() == old->numel())
    return ir::reshape(elements, old->shape);
  // Each element of the cell is either shown by this view, at one place, or keeps its value.
  const auto place = [&](const ir::Value& x) { return ir::transpose_view(view, old->shape, x); };
  const DType dtype = elements->dtype;
  const bool boolean = is_bool(dtype);  // places are added up, which bool does not do
  const ir::Value fresh =
      ir::cast(place(boolean ? ir::cast(elements, DType::U8) : elements), dtype);
  const ir::Value shown = place(ir::constant(DType::U8, view.shape(), int64_t(1)));
  return ir::where(ir::cast(shown, DType::Bool), fresh, old);
}

}  // namespace

bool TensorState::writable() const {
  const ir::ViewMap* view = view_.load(std::memory_order_acquire);
  return !view || !overlaps(view->levels()[0]);
}

void TensorState::assign(const ir::Value& elements, bool recorded) {
  if (elements->numel() == 0) return;
  const ir::Value old = cell_value();
  ir::Value fresh = with_shown(old, view(), recorded ? elements : ir::stop_gradient(elements));
  if (!recorded && old->requires_grad) fresh = unrecorded(fresh, old);
  if (cell_->stands_outside())
    StepRecorder::active()->assign(cell_, std::move(fresh));
  else
    cell_->assign(std::move(fresh), cell_);
}

Tensor make_tensor(ir::Value value) {
  if (!grad_mode()) value = ir::stop_gradient(value);
  return Tensor(
      std::allocate_shared<TensorState>(ir::FreeListAllocator<TensorState>(), std::move(value)));
}

Tensor make_tensor(std::shared_ptr<const ir::Storage> elements, DType dtype, const Shape& shape) {
  auto cell =
      std::allocate_shared<Cell>(ir::FreeListAllocator<Cell>(), std::move(elements), dtype, shape);
  return Tensor(std::allocate_shared<TensorState>(ir::FreeListAllocator<TensorState>(),
                                                  std::move(cell), dtype, shape));
}

bool& grad_mode() {
  thread_local bool enabled = true;
  return enabled;
}

}  // namespace cermet::runtime

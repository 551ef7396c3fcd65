// From a PTX text to a Module: kernels with the layout of their parameters, variables with their
// initial bytes.

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "ptxsim/decode.h"

namespace cermet::ptxsim {

Module::~Module() = default;

class ModuleReader {
 public:
  explicit ModuleReader(std::string_view ptx) : tree_(parse_syntax(ptx)), module_(new Module) {}

  std::unique_ptr<Module> run() {
    module_->target_ = tree_.target;
    module_->target_sm_ = target_number(tree_.target);
    module_->ptx_version_ = tree_.version;
    for (const Declaration& declared : tree_.variables) read_variable(declared);
    for (const Function& function : tree_.functions) {
      if (function.is_kernel && function.has_body) read_kernel(function);
    }
    return std::move(module_);
  }

 private:
  [[noreturn]] static void fail(const Declaration& declared, const std::string& what) {
    throw Error(fmt::format("ptx line {}: '{}': {}", declared.line, declared.name, what),
                declared.line);
  }

  void read_variable(const Declaration& declared) {
    if (declared.space == Space::Shared) return;
    if (declared.space != Space::Global && declared.space != Space::Constant) {
      fail(declared, "a module has .global, .const and .shared variables only");
    }
    if (declared.external) fail(declared, "a variable that another module defines");
    Variable variable;
    variable.name = declared.name;
    variable.constant = declared.space == Space::Constant;
    variable.size = declared.bytes();
    variable.alignment = declared.alignment;
    variable.initial.resize(variable.size);
    const auto width = static_cast<std::size_t>(bytes_of(declared.type));
    for (std::size_t i = 0; i < declared.initial.size(); ++i) {
      const Operand& value = declared.initial[i];
      if ((i + 1) * width > variable.initial.size()) fail(declared, "too many initial values");
      if (value.kind == Operand::Kind::Name || !value.elements.empty()) {
        fail(declared, "an initial value that is no number is not supported");
      }
      std::uint64_t bits = value.bits;
      if (value.kind == Operand::Kind::Float && width == 8) {
        bits = std::bit_cast<std::uint64_t>(
            static_cast<double>(std::bit_cast<float>(static_cast<std::uint32_t>(bits))));
      } else if (value.kind == Operand::Kind::Double && width == 4) {
        bits = std::bit_cast<std::uint32_t>(static_cast<float>(std::bit_cast<double>(bits)));
      }
      std::memcpy(&variable.initial[i * width], &bits, width);
    }
    module_->variables_.push_back(std::move(variable));
  }

  void read_kernel(const Function& function) {
    Kernel kernel;
    kernel.name = function.name;
    for (const Declaration& declared : function.parameters) {
      const auto size = static_cast<std::uint32_t>(declared.bytes());
      const std::uint32_t offset = (kernel.parameter_bytes + declared.alignment - 1) /
                                   declared.alignment * declared.alignment;
      kernel.parameters.push_back({std::string(declared.name), offset, size, declared.alignment});
      kernel.parameter_bytes = offset + size;
    }
    kernel.max_threads = function.max_threads;
    kernel.required_threads = function.required_threads;
    kernel.min_blocks = function.min_blocks;
    kernel.program = std::make_shared<Program>();
    Decoder(tree_, *kernel.program).run(function, kernel.parameters);
    kernel.static_shared_bytes = kernel.program->static_shared_bytes;
    kernel.local_bytes = kernel.program->local_bytes;
    kernel.register_bytes = kernel.program->register_bytes / kLanes;
    module_->kernels_.push_back(std::move(kernel));
  }

  SyntaxTree tree_;
  std::unique_ptr<Module> module_;
};

std::unique_ptr<Module> Module::parse(std::string_view ptx) { return ModuleReader(ptx).run(); }

const Kernel* Module::kernel(std::string_view name) const {
  const auto found = std::find_if(kernels_.begin(), kernels_.end(),
                                  [&](const Kernel& k) { return k.name == name; });
  return found == kernels_.end() ? nullptr : &*found;
}

const Variable* Module::variable(std::string_view name) const {
  const auto found = std::find_if(variables_.begin(), variables_.end(),
                                  [&](const Variable& v) { return v.name == name; });
  return found == variables_.end() ? nullptr : &*found;
}

void Module::place(std::string_view name, std::uint64_t address) {
  const Variable* found = variable(name);
  if (found == nullptr) throw Error(fmt::format("place: the module has no variable '{}'", name));
  variables_[static_cast<std::size_t>(found - variables_.data())].address = address;
}

}  // namespace cermet::ptxsim

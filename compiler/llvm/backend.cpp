// The table of functions the module exports, and the wall around LLVM: whatever goes wrong inside,
// a fatal error included, leaves as an InternalError with LLVM's own text.

#include <fmt/format.h>
#include <llvm/Config/llvm-config.h>
#include <llvm/IR/DiagnosticInfo.h>
#include <llvm/IR/DiagnosticPrinter.h>
#include <llvm/IR/LLVMContext.h>
#include <llvm/IR/Verifier.h>
#include <llvm/Support/ErrorHandling.h>
#include <llvm/Support/raw_ostream.h>

#include <cstring>
#include <mutex>
#include <utility>

#include "cermet/error.h"
#include "compiler/codegen.h"
#include "compiler/llvm/emit.h"
#include "compiler/llvm/host.h"
#include "compiler/llvm/object.h"

namespace cermet::compiler::llvm_backend {
namespace {

// LLVM calls this instead of ending the process.
[[noreturn]] void throw_fatal(void*, const char* reason, bool) {
  throw LlvmFailure(fmt::format("llvm: {}", reason));
}

void install_fatal_handler() {
  static std::once_flag once;
  std::call_once(once, [] { llvm::install_fatal_error_handler(throw_fatal); });
}

// One compile. A context of its own: contexts are not for several threads and grow with use.
struct Job {
  llvm::LLVMContext context;
  std::unique_ptr<llvm::Module> module;
  std::string errors;

  Job() {
    context.setDiagnosticHandlerCallBack(
        [](const llvm::DiagnosticInfo* info, void* job) {
          if (info->getSeverity() != llvm::DS_Error) return;
          llvm::raw_string_ostream stream(static_cast<Job*>(job)->errors);
          llvm::DiagnosticPrinterRawOStream printer(stream);
          info->print(printer);
          stream << '\n';
        },
        this);
  }
};

void verify(const llvm::Module& module) {
  std::string text;
  llvm::raw_string_ostream stream(text);
  if (llvm::verifyModule(module, &stream))
    throw InternalError(fmt::format("llvm: invalid module\n{}", stream.str()));
}

template <class Step>
std::string compile(const loops::Function& function, const Target& target, bool keep_names,
                    const Step& step) {
  install_fatal_handler();
  auto job = std::make_unique<Job>();
  try {
    job->context.setDiscardValueNames(!keep_names);
    llvm::LLVMTargetMachine& made = machine(target);
    job->module = emit(function, target, job->context);
    job->module->setTargetTriple(made.getTargetTriple().str());
    job->module->setDataLayout(made.createDataLayout());
    verify(*job->module);
    std::string result = step(*job->module, made);
    if (!job->errors.empty()) throw InternalError(fmt::format("llvm: {}", job->errors));
    return result;
  } catch (const LlvmFailure&) {
    (void)job.release();
    abandon_machine();
    throw;
  }
}

std::string generate_for(const loops::Function& function, const Target& target, Output output) {
  return compile(function, target, false, [&](llvm::Module& module, llvm::LLVMTargetMachine& made) {
    return generate(module, made, output);
  });
}

std::string version() { return "LLVM " LLVM_VERSION_STRING; }

std::vector<std::byte> to_object(const loops::Function& function, const Target& target) {
  const std::string bytes = generate_for(function, target, Output::Object);
  std::vector<std::byte> object(bytes.size());
  std::memcpy(object.data(), bytes.data(), bytes.size());
  return object;
}

std::string to_assembly(const loops::Function& function, const Target& target) {
  return generate_for(function, target, Output::Assembly);
}

std::string to_llvm_ir(const loops::Function& function, const Target& target) {
  return compile(function, target, true, [](llvm::Module& module, llvm::LLVMTargetMachine&) {
    std::string text;
    llvm::raw_string_ostream stream(text);
    module.print(stream, nullptr);
    return stream.str();
  });
}

}  // namespace
}  // namespace cermet::compiler::llvm_backend

// The only symbol that leaves the module; compiler/llvm_module.h finds it.
extern "C" __attribute__((visibility("default"))) const cermet::compiler::LlvmBackend*
cermet_llvm_backend() {
  namespace backend = cermet::compiler::llvm_backend;
  static constexpr cermet::compiler::LlvmBackend table = {cermet::compiler::llvm_backend_abi,
                                                          backend::version,
                                                          backend::to_object,
                                                          backend::to_llvm_ir,
                                                          backend::to_assembly,
                                                          backend::host_target};
  return &table;
}

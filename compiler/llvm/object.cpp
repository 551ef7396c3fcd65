// Code generation is nearly all of a compile's time, so the pipeline is our own: no pass over LLVM
// IR except the one that takes masked accesses apart for processors without them, and of the
// machine passes those left out that cost more than they bring for loops over vectors. The
// scheduler before register allocation stays: without it large kernels run slower.

#include "compiler/llvm/object.h"

#include <fmt/format.h>
#include <llvm/ADT/SmallVector.h>
#include <llvm/Analysis/TargetLibraryInfo.h>
#include <llvm/Analysis/TargetTransformInfo.h>
#include <llvm/CodeGen/MachineModuleInfo.h>
#include <llvm/CodeGen/Passes.h>
#include <llvm/CodeGen/TargetPassConfig.h>
#include <llvm/IR/LegacyPassManager.h>
#include <llvm/IR/Verifier.h>
#include <llvm/MC/MCContext.h>
#include <llvm/MC/MCSubtargetInfo.h>
#include <llvm/MC/TargetRegistry.h>
#include <llvm/Support/TargetSelect.h>
#include <llvm/Support/raw_ostream.h>
#include <llvm/Transforms/Scalar.h>
#include <llvm/Transforms/Scalar/ScalarizeMaskedMemIntrin.h>

#include <mutex>
#include <optional>

#include "cermet/error.h"
#include "ir/check.h"

namespace cermet::compiler::llvm_backend {
namespace {

constexpr const char* triple = "x86_64-unknown-linux-gnu";

void initialize_llvm() {
  static std::once_flag once;
  std::call_once(once, [] {
    LLVMInitializeX86TargetInfo();
    LLVMInitializeX86Target();
    LLVMInitializeX86TargetMC();
    LLVMInitializeX86AsmPrinter();
  });
}

std::unique_ptr<llvm::LLVMTargetMachine> make_machine(const Target& target) {
  initialize_llvm();
  std::string why;
  const llvm::Target* x86 = llvm::TargetRegistry::lookupTarget(triple, why);
  if (!x86) throw InternalError(fmt::format("llvm: {}", why));
  // Asked first: a machine for an unknown processor would complain on the user's terminal.
  const std::unique_ptr<llvm::MCSubtargetInfo> any(x86->createMCSubtargetInfo(triple, "", ""));
  if (!any || !any->isCPUStringValid(target.cpu))
    throw InternalError(fmt::format("llvm: the processor {} is not known", target.cpu));
  llvm::TargetOptions options;
  options.AllowFPOpFusion = llvm::FPOpFusion::Strict;
  std::unique_ptr<llvm::TargetMachine> made(
      x86->createTargetMachine(triple, target.cpu, target.features, options, llvm::Reloc::PIC_,
                               llvm::CodeModel::Small, llvm::CodeGenOptLevel::Default));
  if (!made)
    throw InternalError(fmt::format("llvm: no code for {} {}", target.cpu, target.features));
  return std::unique_ptr<llvm::LLVMTargetMachine>(
      static_cast<llvm::LLVMTargetMachine*>(made.release()));
}

struct ThreadMachine {
  Target target;
  std::unique_ptr<llvm::LLVMTargetMachine> machine;
};
thread_local std::optional<ThreadMachine> current;

void disable_costly_passes(llvm::TargetPassConfig& config) {
  for (char* id :
       {&llvm::PostRASchedulerID, &llvm::EarlyIfConverterID, &llvm::StackColoringID,
        &llvm::ShrinkWrapID, &llvm::MachineSinkingID, &llvm::EarlyTailDuplicateID,
        &llvm::TailDuplicateID, &llvm::OptimizePHIsID, &llvm::LocalStackSlotAllocationID})
    config.disablePass(id);
}

// Instruction selection without the passes over LLVM IR that addISelPasses would put before it.
struct SelectionOnly : llvm::TargetPassConfig {
  static bool add_to(llvm::TargetPassConfig& config) {
    return (config.*&SelectionOnly::addCoreISelPasses)();
  }
};

void add_passes(llvm::legacy::PassManager& passes, llvm::LLVMTargetMachine& machine,
                llvm::raw_svector_ostream& stream, Output output) {
  passes.add(new llvm::TargetLibraryInfoWrapperPass(machine.getTargetTriple()));
  passes.add(llvm::createTargetTransformInfoWrapperPass(machine.getTargetIRAnalysis()));
  auto* const info = new llvm::MachineModuleInfoWrapperPass(&machine);
  llvm::TargetPassConfig* const config = machine.createPassConfig(passes);
  config->setDisableVerify(true);
  disable_costly_passes(*config);
  passes.add(config);
  passes.add(info);
  passes.add(llvm::createScalarizeMaskedMemIntrinLegacyPass());
  config->addISelPrepare();
  if (SelectionOnly::add_to(*config)) throw InternalError("llvm: no instruction selection");
  config->addMachinePasses();
  config->setInitialized();
  const auto type = output == Output::Object ? llvm::CodeGenFileType::ObjectFile
                                             : llvm::CodeGenFileType::AssemblyFile;
  if (machine.addAsmPrinter(passes, stream, nullptr, type, info->getMMI().getContext()))
    throw InternalError("llvm: this kind of output is not supported");
  passes.add(llvm::createFreeMachineFunctionPass());
}

}  // namespace

llvm::LLVMTargetMachine& machine(const Target& target) {
  if (!current || current->target != target) current = ThreadMachine{target, make_machine(target)};
  return *current->machine;
}

void abandon_machine() {
  if (current) (void)current->machine.release();
  current.reset();
}

std::string generate(llvm::Module& module, llvm::LLVMTargetMachine& machine, Output output) {
  struct Pipeline {
    llvm::SmallVector<char, 0> bytes;
    llvm::raw_svector_ostream stream{bytes};
    llvm::legacy::PassManager passes;
  };
  auto pipeline = std::make_unique<Pipeline>();
  try {
    add_passes(pipeline->passes, machine, pipeline->stream, output);
    pipeline->passes.run(module);
  } catch (const LlvmFailure&) {
    (void)pipeline.release();
    throw;
  }
  return {pipeline->bytes.begin(), pipeline->bytes.end()};
}

}  // namespace cermet::compiler::llvm_backend

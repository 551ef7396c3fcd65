#include "compiler/loops.h"

#include <array>

namespace cermet::compiler::loops {
namespace {

struct Row {
  std::string_view name;
  OpcodeClass kind;
};
constexpr auto table = std::to_array<Row>({
#define X(Enum, text, kind) {#text, OpcodeClass::kind},
    CERMET_LOOP_OPCODES(X)
#undef X
});

}  // namespace

std::string_view name(Opcode op) { return table[size_t(op)].name; }
OpcodeClass class_of(Opcode op) { return table[size_t(op)].kind; }
bool has_value(Opcode op) {
  return op != Opcode::Store && op != Opcode::ScatterStore && op != Opcode::Report &&
         op != Opcode::Prefetch && op != Opcode::PrefetchNear && op != Opcode::Barrier &&
         op != Opcode::CopyAsync && op != Opcode::CopyCommit && op != Opcode::CopyWait &&
         op != Opcode::If;
}

}  // namespace cermet::compiler::loops

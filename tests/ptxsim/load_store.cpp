// ld and st, of one to eight elements per lane, in every space.

#include <fmt/format.h>

#include <cstring>

#include "ptxsim/access.h"
#include "ptxsim/decode.h"

namespace cermet::ptxsim {
namespace {

// Slots of the elements are op[0] to op[vector - 1]; the address is op[kAddress].
constexpr std::size_t kAddress = 8;

// M: as in memory. R: the register, which may be wider; M's sign decides how it is filled.
template <class R, class M>
void exec_load(Warp& warp, const Inst& inst, Mask mask) {
  alignas(64) u64 addresses[kLanes];
  Pointers pointers;
  lane_addresses(warp, inst, kAddress, addresses);
  reach(warp, inst, mask, addresses, static_cast<u32>(sizeof(M) * inst.vector),
        {true, false, inst.flag2}, pointers);
  for (unsigned i = 0; i < inst.vector; ++i) {
    if (inst.op[i] == kNoSlot) continue;
    R* d = warp.at<R>(inst.op[i]);
    for_lanes(mask, [&](int lane) {
      M value;
      std::memcpy(&value, pointers.at[lane] + i * sizeof(M), sizeof(M));
      d[lane] = static_cast<R>(value);
    });
  }
}

// Lanes of one store that write different values to one place: which stays is not defined.
void check_conflict(Warp& warp, const Inst& inst, Mask mask, const Pointers& pointers, u32 bytes,
                    const std::byte* values) {
  const bool shared = inst.space == Space::Shared || inst.space == Space::Generic;
  if (shared ? warp.launch->shared_shadow == nullptr : warp.launch->global_shadow == nullptr)
    return;
  for_lanes(mask, [&](int lane) {
    if (std::memcmp(pointers.at[lane], values + static_cast<u32>(lane) * bytes, bytes) == 0) return;
    warp.launch->violation(shared ? Fault::SharedRace : Fault::GlobalRace, warp, inst, lane,
                           "lanes of one store write different values to one place");
  });
}

template <class R, class M>
void exec_store(Warp& warp, const Inst& inst, Mask mask) {
  alignas(64) u64 addresses[kLanes];
  Pointers pointers;
  lane_addresses(warp, inst, kAddress, addresses);
  reach(warp, inst, mask, addresses, static_cast<u32>(sizeof(M) * inst.vector),
        {false, true, inst.flag2}, pointers);
  M stored[kLanes][8];
  for (unsigned i = 0; i < inst.vector; ++i) {
    const R* s = warp.at<R>(inst.op[i]);
    for_lanes(mask, [&](int lane) {
      stored[lane][i] = static_cast<M>(s[lane]);
      std::memcpy(pointers.at[lane] + i * sizeof(M), &stored[lane][i], sizeof(M));
    });
  }
  if (inst.space == Space::Local || inst.vector != 1) return;
  M first[kLanes];
  for_lanes(mask, [&](int lane) { first[lane] = stored[lane][0]; });
  check_conflict(warp, inst, mask, pointers, sizeof(M), reinterpret_cast<const std::byte*>(first));
}

template <template <class, class> class Of>
Exec by_types(Type memory, int register_bytes) {
  const auto with = [&]<class M>(M) -> Exec {
    if (register_bytes == 2) {
      if constexpr (sizeof(M) <= 2) return Of<u16, M>::exec;
      return nullptr;
    }
    if (register_bytes == 4) {
      if constexpr (sizeof(M) <= 4) return Of<u32, M>::exec;
      return nullptr;
    }
    return Of<u64, M>::exec;
  };
  switch (memory) {
    case Type::U8:
    case Type::B8: return with(u8{});
    case Type::S8: return with(s8{});
    case Type::S16: return with(s16{});
    case Type::S32: return with(s32{});
    default: break;
  }
  if (bytes_of(memory) == 2) return with(u16{});
  if (bytes_of(memory) == 4) return with(u32{});
  return with(u64{});
}
template <class R, class M>
struct Load {
  static constexpr Exec exec = exec_load<R, M>;
};
template <class R, class M>
struct Store {
  static constexpr Exec exec = exec_store<R, M>;
};

Space take_space(Modifiers& modifiers) {
  static constexpr Space kSpaces[] = {Space::Global,    Space::Shared,   Space::Local,
                                      Space::Parameter, Space::Constant, Space::Shared,
                                      Space::Parameter, Space::Parameter};
  const int found = modifiers.take_one_of({"global", "shared", "local", "param", "const",
                                           "shared::cta", "param::entry", "param::func"});
  return found < 0 ? Space::Generic : kSpaces[found];
}

// Memory order and cache hints. What orders nothing here still makes an access strong: it does not
// race with its like.
void take_order(Modifiers& modifiers, Inst& inst) {
  inst.flag2 = modifiers.take_one_of({"volatile", "relaxed", "acquire", "release", "mmio"}) >= 0;
  modifiers.take("weak");
  modifiers.take_one_of({"cta", "cluster", "gpu", "sys"});
  modifiers.take("nc");
  modifiers.take_one_of({"ca", "cg", "cs", "lu", "cv", "wb", "wt"});
  modifiers.take_one_of({"L1::evict_normal", "L1::evict_unchanged", "L1::evict_first",
                         "L1::evict_last", "L1::no_allocate"});
  modifiers.take_one_of({"L2::64B", "L2::128B", "L2::256B"});
  modifiers.take_one_of({"L2::evict_last", "L2::evict_normal", "L2::evict_first"});
}

void decode_access(Decoder& decoder, const Statement& statement, Modifiers& modifiers) {
  const bool load = modifiers.base() != "st";
  decoder.expect_operands(statement, 2);
  Inst inst = decoder.start(statement);
  const Space space = take_space(modifiers);
  take_order(modifiers, inst);
  const int vector = modifiers.take_one_of({"v2", "v4", "v8"});
  const Type type = modifiers.take_type();
  if (type == Type::Pred) decoder.fail("not for this type");
  inst.vector = static_cast<u8>(vector < 0 ? 1 : 2 << vector);
  inst.bytes = static_cast<u8>(bytes_of(type));
  if (inst.bytes * inst.vector > 32) decoder.fail("more than 32 bytes");
  const Operand& values = statement.operands[load ? 0 : 1];
  const Operand& where = statement.operands[load ? 1 : 0];
  decoder.address(inst, kAddress, where, space);

  std::vector<Operand> elements{values};
  if (values.kind == Operand::Kind::Vector) elements = values.elements;
  if (elements.size() != inst.vector) decoder.fail("the vector has another size");
  int width = 0;
  for (const Operand& element : elements) {
    if (element.name != "_") width = std::max(width, decoder.register_bytes(element, type));
  }
  width = std::max(width, std::max(bytes_of(type), 2));
  for (std::size_t i = 0; i < elements.size(); ++i) {
    if (load && elements[i].name == "_") continue;
    const Type as = width == 2 ? Type::B16 : width == 4 ? Type::B32 : Type::B64;
    const bool plain = decoder.immediate(elements[i], type).has_value() && bytes_of(type) == width;
    inst.op[i] = load ? decoder.destination(elements[i], width)
                      : decoder.source(elements[i], plain ? type : as);
  }
  const Exec exec = load ? by_types<Load>(type, width) : by_types<Store>(type, width);
  if (exec == nullptr) decoder.fail("the register is narrower than the type");
  decoder.add(inst, exec);
}

constexpr Opcode kOpcodes[] = {
    {"ld", decode_access}, {"ldu", decode_access}, {"st", decode_access}};

}  // namespace

std::span<const Opcode> access_opcodes() { return kOpcodes; }

}  // namespace cermet::ptxsim

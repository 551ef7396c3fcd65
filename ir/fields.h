#pragma once
// The attributes of a statement in text: `name`, `name=1`, `name=word`, `name=[1,2]` and
// `name=[0:1,2:3]` behind its operands, in any order. Graphs and kernels share this form, and the
// levels of index maps that are written in it.

#include "ir/scanner.h"
#include "ir/view.h"

namespace cermet::ir {

// Reads all fields of a statement at once. Each is then taken by its name and the form that it must
// have; done() complains about what nobody took. Every mistake is noted in the scanner and throws
// its Skip.
class Fields {
 public:
  // `op` is what the fields belong to, for messages.
  Fields(Scanner& scanner, const Token& op);

  int64_t integer(std::string_view name) { return need(name, Kind::Int, "1").number; }
  int64_t integer_or(std::string_view name, int64_t otherwise) {
    const Field* field = find(name, Kind::Int, "1");
    return field != nullptr ? field->number : otherwise;
  }
  Dims list(std::string_view name) { return need(name, Kind::List, "[1,2]").list; }
  bool flag(std::string_view name) { return find(name, Kind::Flag, name) != nullptr; }
  std::string_view word(std::string_view name, std::string_view example) {
    return need(name, Kind::Word, example).word;
  }
  // The levels of an index map, the first of a shape that is known; strides, offset, valid and of
  // must not be the names of other fields. What the numbers mean is not checked (see verify_view),
  // only that there is one for each axis.
  SmallVector<StridedMap, 1> levels(const Shape& shape);
  void done();

 private:
  enum class Kind : uint8_t { Flag, Int, Word, List, Intervals };
  struct Field {
    Token name;
    Kind kind = Kind::Flag;
    int64_t number = 0;
    std::string_view word;
    Dims list, ends;  // ends: of Intervals
    bool used = false;
  };

  const Field* find(std::string_view name, Kind kind, std::string_view example);
  const Field& need(std::string_view name, Kind kind, std::string_view example);
  [[noreturn]] void given_twice(const Field& field);
  [[noreturn]] void unknown(const Field& field, std::string_view hint);
  void check(const Field& field, Kind kind, std::string_view example);
  StridedMap level(const Shape& shape);
  Dims for_each_axis(const Field& field, const Dims& list, const StridedMap& level);

  Scanner& scanner_;
  Token op_;
  std::vector<Field> fields_;
  std::vector<std::string_view> known_;  // names that were asked for
};

}  // namespace cermet::ir

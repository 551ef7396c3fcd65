#include "ir/fields.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "ir/text.h"

namespace cermet::ir {

Fields::Fields(Scanner& scanner, const Token& op) : scanner_(scanner), op_(op) {
  while (scanner.at(Token::Kind::Name)) {
    Field field;
    field.name = scanner.take();
    if (scanner.accept('=')) {
      if (scanner.token().is('['))
        field.kind = scanner.list(field.list, field.ends) ? Kind::Intervals : Kind::List;
      else if (scanner.at(Token::Kind::Name))
        field.kind = Kind::Word, field.word = scanner.take().text;
      else
        field.kind = Kind::Int, field.number = scanner.integer();
    }
    fields_.push_back(std::move(field));
  }
}

void Fields::done() {
  for (const Field& field : fields_) {
    if (field.used) continue;
    if (std::ranges::find(known_, field.name.text) != known_.end()) given_twice(field);
    unknown(field, suggest(field.name.text, known_));
  }
}

void Fields::given_twice(const Field& field) {
  scanner_.fail(field.name, fmt::format("{} is given twice", quoted(field.name.text)));
}

void Fields::unknown(const Field& field, std::string_view hint) {
  scanner_.fail(field.name,
                fmt::format("{} has no attribute {}{}", op_.text, quoted(field.name.text), hint));
}

const Fields::Field* Fields::find(std::string_view name, Kind kind, std::string_view example) {
  known_.push_back(name);
  for (Field& field : fields_) {
    if (field.used || field.name.text != name) continue;
    check(field, kind, example);
    field.used = true;
    return &field;
  }
  return nullptr;
}

const Fields::Field& Fields::need(std::string_view name, Kind kind, std::string_view example) {
  if (const Field* field = find(name, kind, example)) return *field;
  for (const Field& field : fields_) {  // a misspelt name is a better message than a missing one
    const std::string hint = field.used ? "" : suggest(field.name.text, {name});
    if (!hint.empty()) unknown(field, hint);
  }
  scanner_.fail(op_, fmt::format("{}: {}={} is missing", op_.text, name, example));
}

void Fields::check(const Field& field, Kind kind, std::string_view example) {
  if (field.kind == kind) return;
  scanner_.fail(field.name, kind == Kind::Flag
                                ? fmt::format("'{}' has no value", example)
                                : fmt::format("'{}' is written as {}={}", field.name.text,
                                              field.name.text, example));
}

StridedMap Fields::level(const Shape& shape) {
  for (int64_t extent : shape)
    if (extent < 0)
      scanner_.fail(op_, fmt::format("{}: negative size in {}", op_.text, to_string(shape)));
  if (!checked_numel(shape))
    scanner_.fail(op_, fmt::format("{}: {} has too many elements", op_.text, to_string(shape)));
  StridedMap level = StridedMap::contiguous(shape);
  level.strides = default_strides(shape);
  return level;
}

Dims Fields::for_each_axis(const Field& field, const Dims& list, const StridedMap& level) {
  if (list.size() != level.shape.size())
    scanner_.fail(field.name, fmt::format("{} has {} entries for {} axes", field.name.text,
                                          list.size(), level.shape.size()));
  return list;
}

SmallVector<StridedMap, 1> Fields::levels(const Shape& shape) {
  known_.insert(known_.end(), {"strides", "offset", "valid", "of", "shape"});
  SmallVector<StridedMap, 1> levels;
  levels.push_back(level(shape));
  std::array<bool, 3> given{};
  for (size_t i = 0; i < fields_.size(); ++i) {
    Field& field = fields_[i];
    if (field.used) continue;
    StridedMap& m = levels.back();
    size_t which = 0;
    if (field.name.is("strides")) {
      check(field, Kind::List, "[1,2]");
      m.strides = for_each_axis(field, field.list, m);
    } else if (field.name.is("offset")) {
      which = 1;
      check(field, Kind::Int, "1");
      m.offset = field.number;
    } else if (field.name.is("valid")) {
      which = 2;
      check(field, Kind::Intervals, "[0:1,0:2]");
      m.begin = for_each_axis(field, field.list, m), m.end = field.ends;
    } else if (field.name.is("of")) {
      check(field, Kind::Flag, "of");
      if (i + 1 == fields_.size() || !fields_[i + 1].name.is("shape"))
        scanner_.fail(field.name, "expected shape=[1,2] after 'of'");
      field.used = true;
      Field& of = fields_[++i];
      check(of, Kind::List, "[1,2]");
      of.used = true;
      levels.push_back(level(of.list));
      given = {};
      continue;
    } else {
      continue;
    }
    if (std::exchange(given[which], true)) given_twice(field);
    field.used = true;
  }
  return levels;
}

}  // namespace cermet::ir

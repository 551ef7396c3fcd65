// The environment is read once for each driver. Every variable is a row of the table below; what is
// not understood ends the process, because a check that was asked for and silently left out would
// let a test pass that should not.

#include "fakecuda/options.h"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <string_view>

namespace cermet::fakecuda {
namespace {

[[noreturn]] void refuse(std::string_view variable, std::string_view value, const char* expected) {
  std::fprintf(stderr, "fakecuda: %.*s is \"%.*s\", expected %s\n",
               static_cast<int>(variable.size()), variable.data(), static_cast<int>(value.size()),
               value.data(), expected);
  std::exit(2);
}

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(separator, begin), text.size());
    parts.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

// A whole number of at least `least`, with a suffix K, M or G for powers of 1024.
uint64_t number(std::string_view variable, std::string_view text, uint64_t least = 0) {
  uint64_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const std::string_view rest = text.substr(static_cast<size_t>(end - text.data()));
  const size_t power = std::string_view("KMG").find(rest.empty() ? 'K' : rest[0]);
  const bool understood = rest.empty() || (rest.size() == 1 && power != std::string_view::npos);
  if (error != std::errc() || !understood || value < least) {
    refuse(variable, text, "a number, possibly with K, M or G");
  }
  return rest.empty() ? value : value << (10 * (power + 1));
}

void read_schedule(Options& options, std::string_view name, std::string_view value) {
  const auto parts = split(value, ':');
  if (value == "lazy") {
    options.schedule = Schedule::Lazy;
  } else if (value == "eager") {
    options.schedule = Schedule::Eager;
  } else if (parts[0] == "random" && parts.size() <= 2) {
    options.schedule = Schedule::Random;
    if (parts.size() == 2) options.seed = number(name, parts[1]);
  } else {
    refuse(name, value, "lazy, eager or random:SEED");
  }
}

// The one value of FAKECUDA_CC is for all devices; a list is for one each.
void read_capabilities(Options& options, std::string_view name, std::string_view value) {
  options.compute_capabilities.clear();
  for (const std::string_view part : split(value, ',')) {
    const uint64_t found = number(name, part);
    bool known = false;
    for (const uint64_t one : {75, 80, 86, 89, 90, 100, 120}) known = known || one == found;
    if (!known) refuse(name, value, "some of 75, 80, 86, 89, 90, 100, 120");
    options.compute_capabilities.push_back(static_cast<int>(found));
  }
}

void read_devices(Options& options, std::string_view name, std::string_view value) {
  const uint64_t count = number(name, value);
  if (count > 16) refuse(name, value, "at most 16");
  options.compute_capabilities.resize(count, options.compute_capabilities.front());
}

void read_memory(Options& options, std::string_view name, std::string_view value) {
  options.memory_bytes = number(name, value, 1);
}

// NAME:NUMBER, several separated by commas.
void read_limits(Options& options, std::string_view name, std::string_view value) {
  for (const std::string_view part : split(value, ',')) {
    const auto fields = split(part, ':');
    const bool known = fields.size() == 2 && (fields[0] == "shared" || fields[0] == "threads" ||
                                              fields[0] == "grid" || fields[0] == "parameters");
    if (!known) refuse(name, value, "some of shared:N, threads:N, grid:N, parameters:N");
    options.limits[std::string(fields[0])] = number(name, fields[1], 1);
  }
}

void read_driver(Options& options, std::string_view name, std::string_view value) {
  options.driver_version = static_cast<int>(number(name, value, 11000));
}

void read_budget(Options& options, std::string_view name, std::string_view value) {
  options.instruction_budget = number(name, value, 1);
}

void read_quiet(Options& options, std::string_view, std::string_view value) {
  options.quiet = value == "1";
}

void read_checks(Options& options, std::string_view name, std::string_view value) {
  Checks& checks = options.checks;
  const std::map<std::string_view, std::vector<bool*>> names = {
      {"uninitialised", {&checks.uninitialised}},
      {"races", {&checks.shared_races, &checks.global_races}},
      {"shared_races", {&checks.shared_races}},
      {"global_races", {&checks.global_races}},
      {"counters", {&checks.counters}},
      {"leaks", {&checks.leaks}},
      {"poison", {&checks.poison}},
  };
  for (std::string_view part : split(value, ',')) {
    const bool on = !part.starts_with('-');
    if (!on) part.remove_prefix(1);
    const bool every = part == "all" || part == "none";
    if (!every && !names.contains(part)) {
      refuse(name, value,
             "all, none, or names, each possibly with a minus: uninitialised, races, "
             "shared_races, global_races, counters, leaks, poison");
    }
    for (const auto& [known, flags] : names) {
      if (!every && known != part) continue;
      for (bool* flag : flags) *flag = part == "none" ? !on : on;
    }
  }
}

// Calls are named as cuGetProcAddress takes them, without what is appended for versions.
constexpr std::string_view calls[] = {
#define ENTRY(name, symbol, version, parameters) #name,
#include "fakecuda/api.def"
#undef ENTRY
};

// CALL:ERROR[:NTH], several separated by commas.
void read_failures(Options& options, std::string_view name, std::string_view value) {
  for (const std::string_view part : split(value, ',')) {
    const auto fields = split(part, ':');
    if (fields.size() < 2 || fields.size() > 3) refuse(name, value, "CALL:ERROR[:NTH],...");
    if (std::ranges::find(calls, fields[0]) == std::end(calls))
      refuse(name, value, "calls by their names without _v2 and the like");
    options.injections[std::string(fields[0])].push_back({
        .error = static_cast<CUresult>(number(name, fields[1], 1)),
        .nth = fields.size() == 3 ? static_cast<int64_t>(number(name, fields[2], 1)) : 0,
    });
  }
}

struct Variable {
  const char* name;
  void (*read)(Options&, std::string_view name, std::string_view value);
};
constexpr Variable variables[] = {
    {"FAKECUDA_SCHEDULE", read_schedule}, {"FAKECUDA_CC", read_capabilities},
    {"FAKECUDA_DEVICES", read_devices},  // after FAKECUDA_CC, whose first value fills up
    {"FAKECUDA_MEMORY", read_memory},     {"FAKECUDA_LIMITS", read_limits},
    {"FAKECUDA_DRIVER", read_driver},     {"FAKECUDA_BUDGET", read_budget},
    {"FAKECUDA_QUIET", read_quiet},       {"FAKECUDA_CHECKS", read_checks},
    {"FAKECUDA_FAIL", read_failures},
};

}  // namespace

Options options_from_environment() {
  Options options;
  for (const Variable& variable : variables) {
    const char* value = std::getenv(variable.name);
    if (value != nullptr && *value != '\0') variable.read(options, variable.name, value);
  }
  return options;
}

}  // namespace cermet::fakecuda

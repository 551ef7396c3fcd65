#include "compiler/team_scan.h"

#include <algorithm>

namespace cermet::compiler {
namespace {

using loops::Builder;
using loops::Ref;

constexpr int64_t warp = 32;

// A vector of these scalars.
Ref join(Builder& b, const std::vector<Ref>& scalars) {
  const int lanes = int(scalars.size());
  Ref out = b.splat(scalars[0], lanes);
  for (int l = 1; l < lanes; ++l)
    out = b.select(b.eq(b.ramp(b.index(0), lanes), b.index(l)), scalars[size_t(l)], out);
  return out;
}

// What comes before this thread in its warp, and the sum of the warp, from every thread's own sum.
struct Around {
  Ref before, all;
};
Around across_warp(Builder& b, const Expr& e, const Team& team, Ref own) {
  Around out{identity(b, e.combine, b.dtype(own), 1), own};
  for (int64_t mask = 1; mask < std::min(team.threads, warp); mask *= 2) {
    const Ref other = b.shuffle_xor(out.all, mask);
    const Ref second = b.eq(b.rem(b.div(team.part, b.index(mask)), b.index(2)), b.index(1));
    out.before = b.select(second, combine(b, e.combine, other, out.before), out.before);
    const Ref first = b.select(second, other, out.all), last = b.select(second, out.all, other);
    out.all = combine(b, e.combine, first, last);
  }
  return out;
}

// The carry with the warps before this one, and with all of them. Shared memory is [team][warp].
Around across_warps(Builder& b, const Expr& e, const Team& team, Ref warp_sum, Ref carry) {
  const int64_t warps = team.threads / warp;
  const DType dtype = b.dtype(warp_sum);
  const int32_t sums = team.shared(dtype, team.teams * warps);
  const Ref first = b.mul(team.team, b.index(warps)), mine = b.div(team.part, b.index(warp));
  const Ref leads = b.eq(b.rem(team.part, b.index(warp)), b.index(0));
  b.store(sums, b.add(first, mine), warp_sum, leads);
  b.barrier();
  Around out{carry, carry};
  for (int64_t k = 0; k < warps; ++k) {
    out.all = combine(b, e.combine, out.all, b.load(sums, b.add(first, b.index(k))));
    if (k + 1 < warps) out.before = b.select(b.lt(b.index(k), mine), out.all, out.before);
  }
  b.barrier();  // before the next step writes there
  return out;
}

}  // namespace

ScanStep scan_in_team(Builder& b, const Expr& e, const Team& team, Ref value, Ref carry) {
  const int lanes = b.lanes(value);
  std::vector<Ref> sums;  // of the vector's first elements, in the order of the scan
  for (int l = 0; l < lanes; ++l) {
    const Ref next = b.extract(value, e.reverse ? lanes - 1 - l : l);
    sums.push_back(l == 0 ? next : combine(b, e.combine, sums.back(), next));
  }
  const Around in_warp = across_warp(b, e, team, sums.back());
  Around in_team;
  if (team.threads <= warp)
    in_team = {carry, combine(b, e.combine, carry, in_warp.all)};
  else
    in_team = across_warps(b, e, team, in_warp.all, carry);
  const Ref before = combine(b, e.combine, in_team.before, in_warp.before);
  std::vector<Ref> values;
  for (int l = 0; l < lanes; ++l) {
    if (e.exclusive)
      values.push_back(l == 0 ? before : combine(b, e.combine, before, sums[size_t(l) - 1]));
    else
      values.push_back(combine(b, e.combine, before, sums[size_t(l)]));
  }
  if (e.reverse) std::ranges::reverse(values);
  return {join(b, values), in_team.all};
}

}  // namespace cermet::compiler

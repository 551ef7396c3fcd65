#pragma once
// What the stages of a row program compute when they keep nothing but the reductions of earlier
// stages, and how many registers a thread needs for that.

#include "compiler/row_stages.h"

namespace cermet::compiler {

struct StageNeeds {
  // By stage, in order: what it accumulates, with the scans that it needs again; and all that it
  // computes at an element, operands first, with the former.
  std::vector<std::vector<int32_t>> accumulated, computed;
};

// Throws InternalError where a stage needs a scan against its direction.
StageNeeds stage_needs(const Kernel& kernel, const RowStages& stages);

// In words of 4 bytes, roughly: constants and addresses do not count.
struct RegisterNeed {
  int64_t element = 0;  // values of one element that live at once, in the stage that has most
  int64_t sums = 0;     // partial results, in the stage that has most
  int64_t rows = 0;     // values of a row
  int64_t kept = 0;     // values of one element that are computed in one stage and used in another
};
RegisterNeed register_need(const Kernel& kernel, const RowStages& stages, const StageNeeds& needs);

}  // namespace cermet::compiler

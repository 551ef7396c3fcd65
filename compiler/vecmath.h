#pragma once
// Vector mathematics by our own polynomials: the elementary functions of f32 and f64, conversions
// of float16 and bfloat16, and the random generator, written once against a builder (see
// compiler/vecmath_number.h), so that loop IR for every target, and the tests on the host, make the
// same operations and the same bits.
//
// What holds for every function of floats:
//   - at most 2 ulp from the exact result, with and without fma, denormals included on both sides;
//     tests/compiler/vecmath_test.cpp measures it, and prints the maxima with
//     CERMET_VECMATH_REPORT=1;
//   - special values as in C99's Annex F: NaN, infinities, zeros with their signs, domain errors;
//   - no branch, and no call but those of helpers in rare cases; no table but those that one
//     instruction reads, where there is such a one (compiler/vecmath_table.h); the default rounding
//     mode is assumed, and that nothing reorders or contracts floating-point operations.
//
// The method is the same everywhere: reduce the argument, with the error of the reduction known;
// evaluate a minimax polynomial (tools/vecmath/remez.py) that leaves the leading terms exact; and
// reconstruct from the small end. Where errors would add up beyond 2 ulp a value is kept as a pair,
// or f32 is computed in f64 with polynomials just long enough for f32.

#include "compiler/vecmath_arc.h"
#include "compiler/vecmath_erf.h"
#include "compiler/vecmath_exp.h"
#include "compiler/vecmath_half.h"
#include "compiler/vecmath_hyperbolic.h"
#include "compiler/vecmath_log.h"
#include "compiler/vecmath_pow.h"
#include "compiler/vecmath_random.h"
#include "compiler/vecmath_trig.h"

#pragma once
// The tables of Opcode::Lookup, from tools/vecmath/tables.py, which says what they are: polynomials
// of f32 functions, a row for each coefficient, with an entry for each quarter of an octave of the
// argument; and powers of two. One instruction of AVX-512 picks any of 32 numbers in each lane.
//
// Kernels on disk hold these numbers, and their names only what rows they use: whoever changes a
// row changes codegen_version in runtime/engine.cpp, too.

#include <cstdint>

namespace cermet::compiler {

inline constexpr int lookup_entries = 32;

// The first of seven rows: middles of intervals, then the coefficients.
inline constexpr int tanh_rows = 0, erf_rows = 7;
// 2^(k/16), twice.
inline constexpr int exp_row = 14;

// clang-format off
inline constexpr float lookup_rows[][lookup_entries] = {
    // tanh
    {0x1.1ffe24p+1f, 0x1.600230p+1f, 0x1.a0006ep+1f, 0x1.e001ecp+1f, 0x1.1ffee2p+2f, 0x1.600258p+2f,
     0x1.9ffda8p+2f, 0x1.e00258p+2f, 0x1.1ffda8p+3f, 0, 0, 0, 0, 0, 0, 0, 0x1.2000dep-3f,
     0x1.5ffecep-3f, 0x1.9fff9ap-3f, 0x1.dfff30p-3f, 0x1.1ffe3ap-2f, 0x1.600068p-2f, 0x1.9ffe82p-2f,
     0x1.e000eap-2f, 0x1.1ffeb2p-1f, 0x1.5ffe5ap-1f, 0x1.a00154p-1f, 0x1.dfffb0p-1f, 0x1.1ffeb6p+0f,
     0x1.5fffdap+0f, 0x1.9fff10p+0f, 0x1.e00076p+0f},
    {0x1.f4bf84p-1f, 0x1.fbd52ep-1f, 0x1.fe767cp-1f, 0x1.ff6f1cp-1f, 0x1.ffdfa6p-1f, 0x1.fffba0p-1f,
     0x1.ffff68p-1f, 0x1.ffffecp-1f, 0x1.fffffep-1f, 0, 0, 0, 0, 0, 0, 0, 0x1.1e1eaap-3f,
     0x1.5c91dep-3f, 0x1.9a5ebap-3f, 0x1.d76598p-3f, 0x1.18a1f6p-2f, 0x1.52c322p-2f, 0x1.8a869cp-2f,
     0x1.bfaf28p-2f, 0x1.050778p-1f, 0x1.3156d0p-1f, 0x1.5789bap-1f, 0x1.77d814p-1f, 0x1.9e5bd2p-1f,
     0x1.c27894p-1f, 0x1.d9c6b6p-1f, 0x1.e878b4p-1f},
    {0x1.641aa8p-5f, 0x1.099ea8p-6f, 0x1.88ecd0p-8f, 0x1.219f06p-9f, 0x1.02c9bap-11f,
     0x1.18207ap-14f, 0x1.2f7874p-17f, 0x1.486030p-20f, 0x1.06562cp-24f, 0, 0, 0, 0, 0, 0,
     0x1.000000p+0f, 0x1.f601bcp-1f, 0x1.f12b18p-1f, 0x1.eb7164p-1f, 0x1.e4dfc8p-1f, 0x1.d98baap-1f,
     0x1.c7f704p-1f, 0x1.b3ffacp-1f, 0x1.9e235cp-1f, 0x1.7aebe2p-1f, 0x1.49e804p-1f, 0x1.197ed2p-1f,
     0x1.d83540p-2f, 0x1.6152e4p-2f, 0x1.cea7bep-3f, 0x1.266032p-3f, 0x1.6fce64p-4f},
    {-0x1.5c44aap-5f, -0x1.077150p-6f, -0x1.87b7e6p-8f, -0x1.2147a4p-9f, -0x1.0266b2p-11f,
     -0x1.17c3e2p-14f, -0x1.2f165cp-17f, -0x1.47f64cp-20f, -0x1.00372cp-24f, 0, 0, 0, 0, 0, 0, 0,
     -0x1.188910p-3f, -0x1.5278dap-3f, -0x1.89e4c2p-3f, -0x1.be6c10p-3f, -0x1.038e2ap-2f,
     -0x1.2dafd2p-2f, -0x1.4ff65cp-2f, -0x1.6a1d8cp-2f, -0x1.825d72p-2f, -0x1.897d46p-2f,
     -0x1.79c062p-2f, -0x1.5aa254p-2f, -0x1.1df1eep-2f, -0x1.970f0ap-3f, -0x1.10665ap-3f,
     -0x1.5ee786p-4f},
    {0x1.bbd9a2p-6f, 0x1.5988c6p-7f, 0x1.03936ep-8f, 0x1.80da4ep-10f, 0x1.585778p-12f,
     0x1.74f5b4p-15f, 0x1.9415fcp-18f, 0x1.b53d86p-21f, 0x1.552c96p-25f, 0, 0, 0, 0, 0, 0,
     -0x1.5553dcp-2f, -0x1.3b3208p-2f, -0x1.2e3cb2p-2f, -0x1.206690p-2f, -0x1.0fd58cp-2f,
     -0x1.e925e8p-3f, -0x1.982af8p-3f, -0x1.426b4cp-3f, -0x1.d775eep-4f, -0x1.bcef18p-5f,
     0x1.d6acfap-7f, 0x1.07483ep-4f, 0x1.84238cp-4f, 0x1.c68b34p-4f, 0x1.97d694p-4f, 0x1.33e15ap-4f,
     0x1.a858dap-5f},
    {-0x1.95e4b6p-7f, -0x1.514fbep-8f, -0x1.033cfep-9f, -0x1.838672p-11f, -0x1.68a6c8p-13f,
     -0x1.87126cp-16f, -0x1.a7c2acp-19f, -0x1.ca8d40p-22f, -0x1.a35556p-26f, 0, 0, 0, 0, 0, 0, 0,
     0x1.6c22d2p-4f, 0x1.ac82a8p-4f, 0x1.eecafcp-4f, 0x1.11b882p-3f, 0x1.32d8d2p-3f, 0x1.4fd574p-3f,
     0x1.5beddep-3f, 0x1.584e28p-3f, 0x1.39cd1ep-3f, 0x1.e93fc6p-4f, 0x1.4742c4p-4f, 0x1.6350fcp-5f,
     0x1.e2cb9cp-9f, -0x1.59c658p-6f, -0x1.9bb0bap-6f, -0x1.558fa0p-6f},
    {0x1.04c3dap-8f, 0x1.f5fa9ep-10f, 0x1.9474fcp-11f, 0x1.332484p-12f, 0x1.1fb428p-14f,
     0x1.38b3e6p-17f, 0x1.52b8ecp-20f, 0x1.6ec3ccp-23f, 0x1.4e9968p-27f, 0, 0, 0, 0, 0, 0,
     0x1.0eaddap-3f, 0x1.0105d2p-1f, -0x1.3423f2p+0f, 0x1.b289acp-1f, -0x1.5b0b46p-5f,
     0x1.1126e2p-4f, -0x1.3fd1c4p-5f, -0x1.fd8004p-8f, 0x1.ae0a10p-5f, -0x1.873b26p-5f,
     -0x1.dc3408p-5f, -0x1.13e69ep-4f, -0x1.974b66p-5f, -0x1.0556cep-5f, -0x1.33f898p-7f,
     0x1.63e5c6p-10f, 0x1.30f396p-8f},
    // erf
    {0x1.200246p+1f, 0x1.600084p+1f, 0x1.a00258p+1f, 0x1.dffda8p+1f, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
     0, 0, 0x1.1ffee4p-3f, 0x1.5ffe3ep-3f, 0x1.a001a6p-3f, 0x1.e001e2p-3f, 0x1.200252p-2f,
     0x1.5fff8cp-2f, 0x1.a000bcp-2f, 0x1.dffe88p-2f, 0x1.200160p-1f, 0x1.5ffde4p-1f, 0x1.a0004cp-1f,
     0x1.dfff44p-1f, 0x1.2000c2p+0f, 0x1.5ffe1ep+0f, 0x1.a001dap+0f, 0x1.e0013ap+0f},
    {0x1.ff4058p-1f, 0x1.fff2d0p-1f, 0x1.ffff70p-1f, 0x1.fffffcp-1f, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
     0, 0, 0x1.42d6c2p-3f, 0x1.894e24p-3f, 0x1.cf0936p-3f, 0x1.09efd8p-2f, 0x1.3c9d14p-2f,
     0x1.7e1520p-2f, 0x1.bcd0a0p-2f, 0x1.f86e56p-2f, 0x1.25b9cap-1f, 0x1.5690c8p-1f, 0x1.7fb9ecp-1f,
     0x1.a154c2p-1f, 0x1.c6db4ep-1f, 0x1.e575e8p-1f, 0x1.f4f6e0p-1f, 0x1.fbe634p-1f},
    {0x1.d3ee6ep-8f, 0x1.335d02p-11f, 0x1.e9961ap-16f, 0x1.d9ca50p-21f, 0, 0, 0, 0, 0, 0, 0, 0, 0,
     0, 0, 0x1.20dd74p+0f, 0x1.1b357cp+0f, 0x1.1874f2p+0f, 0x1.153052p+0f, 0x1.116cbap+0f,
     0x1.0ae4f8p+0f, 0x1.00abe4p+0f, 0x1.e9d560p-1f, 0x1.cfc4bep-1f, 0x1.a50608p-1f, 0x1.6821fcp-1f,
     0x1.2a8d86p-1f, 0x1.dfcb72p-2f, 0x1.45e770p-2f, 0x1.5ceca4p-3f, 0x1.499588p-4f,
     0x1.12c9c2p-5f},
    {-0x1.07249ep-6f, -0x1.a5e052p-10f, -0x1.8bccd8p-14f, -0x1.b74600p-19f, 0, 0, 0, 0, 0, 0, 0, 0,
     0, 0, 0, 0, -0x1.3e9adep-3f, -0x1.819eaep-3f, -0x1.c27074p-3f, -0x1.0056e0p-2f,
     -0x1.2c43f8p-2f, -0x1.60ebecp-2f, -0x1.8dfe10p-2f, -0x1.b2c71cp-2f, -0x1.d9a8eep-2f,
     -0x1.ef2bacp-2f, -0x1.e52646p-2f, -0x1.c1ce08p-2f, -0x1.6ea5c6p-2f, -0x1.dfc40ap-3f,
     -0x1.0bcb82p-3f, -0x1.019e44p-4f},
    {0x1.63e516p-6f, 0x1.696e4ap-9f, 0x1.98ef8ap-13f, 0x1.092bf2p-17f, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
     0, -0x1.811e54p-2f, -0x1.6a5dd2p-2f, -0x1.5ed73ap-2f, -0x1.53f622p-2f, -0x1.43aca4p-2f,
     -0x1.2b6a2cp-2f, -0x1.058be8p-2f, -0x1.b5930cp-3f, -0x1.5aa91ap-3f, -0x1.9c2728p-4f,
     -0x1.a3df8ap-7f, 0x1.fe43aep-5f, 0x1.e4bbd8p-4f, 0x1.4cb464p-3f, 0x1.437710p-3f,
     0x1.d65da0p-4f, 0x1.143b30p-4f},
    {-0x1.3ca3cep-6f, -0x1.bdfd50p-9f, -0x1.44eefcp-12f, -0x1.05a2e2p-16f, 0, 0, 0, 0, 0, 0, 0, 0,
     0, 0, 0, 0, 0x1.377a8cp-4f, 0x1.727952p-4f, 0x1.bbe6b0p-4f, 0x1.e8e0eep-4f, 0x1.1bf210p-3f,
     0x1.45547ep-3f, 0x1.620b24p-3f, 0x1.72f396p-3f, 0x1.7522a4p-3f, 0x1.52af4ap-3f, 0x1.0f5faep-3f,
     0x1.746c7ep-4f, 0x1.cfdc56p-6f, -0x1.ebc020p-6f, -0x1.94b1ecp-5f, -0x1.597428p-5f},
    {0x1.5a7da0p-7f, 0x1.73543ap-9f, 0x1.5ed1d0p-12f, 0x1.563f26p-16f, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
     0, 0x1.c3870cp-4f, -0x1.cf359cp-1f, -0x1.94c2eap+1f, 0x1.74dd48p+1f, -0x1.4ece4ep+1f,
     -0x1.64fd38p-5f, 0x1.b25874p-3f, 0x1.b59a86p-5f, 0x1.fb56d6p-6f, -0x1.e1ed84p-7f,
     -0x1.76a1cep-5f, -0x1.144f34p-4f, -0x1.139a8ap-4f, -0x1.f52d7cp-5f, -0x1.f65f7ap-6f,
     -0x1.25752ep-9f, 0x1.728d32p-7f},
    // exp
    {0x1.000000p+0f, 0x1.0b5586p+0f, 0x1.172b84p+0f, 0x1.2387a6p+0f, 0x1.306fe0p+0f, 0x1.3dea64p+0f,
     0x1.4bfdaep+0f, 0x1.5ab07ep+0f, 0x1.6a09e6p+0f, 0x1.7a1148p+0f, 0x1.8ace54p+0f, 0x1.9c4918p+0f,
     0x1.ae89fap+0f, 0x1.c199bep+0f, 0x1.d5818ep+0f, 0x1.ea4afap+0f, 0x1.000000p+0f, 0x1.0b5586p+0f,
     0x1.172b84p+0f, 0x1.2387a6p+0f, 0x1.306fe0p+0f, 0x1.3dea64p+0f, 0x1.4bfdaep+0f, 0x1.5ab07ep+0f,
     0x1.6a09e6p+0f, 0x1.7a1148p+0f, 0x1.8ace54p+0f, 0x1.9c4918p+0f, 0x1.ae89fap+0f, 0x1.c199bep+0f,
     0x1.d5818ep+0f, 0x1.ea4afap+0f},
};
// clang-format on

}  // namespace cermet::compiler

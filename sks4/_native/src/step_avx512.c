#include "target.h"

#ifdef X86
#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx512f,avx512vl,avx512dq,fma"))), apply_to = function)
#else
#pragma GCC target("avx512f,avx512vl,avx512dq,fma")
#endif

#define VECTOR_BYTES 64
#include "step_kernels.h"

#ifdef __clang__
#pragma clang attribute pop
#endif

const struct step_kernels sks4_step_avx512 = {step_kernel_single, step_kernel_double};
#endif

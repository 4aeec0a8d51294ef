#include "target.h"

#ifdef X86
#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx512f,avx512vl,avx512dq,fma"))), apply_to = function)
#else
#pragma GCC target("avx512f,avx512vl,avx512dq,fma")
#endif

#define VECTOR_BYTES 64
#define AHEAD 8
#include "kernels.h"

#ifdef __clang__
#pragma clang attribute pop
#endif

const struct instruction_set sks4_avx512 = {
    "avx512", kernel_single, kernel_double, block_kernel_single, block_kernel_double};
#endif

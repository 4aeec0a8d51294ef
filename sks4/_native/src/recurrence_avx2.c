#include "target.h"

#ifdef X86
#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx2,fma")
#endif

#define VECTOR_BYTES 32
#define AHEAD 4
#include "kernels.h"

#ifdef __clang__
#pragma clang attribute pop
#endif

const struct instruction_set sks4_avx2 = {
    "avx2", kernel_single, kernel_double, block_kernel_single, block_kernel_double};
#endif

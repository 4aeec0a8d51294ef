/* Vectors that every processor of the architecture has: SSE2 on x86-64, NEON on Arm. */

#define VECTOR_BYTES 16
#define AHEAD 4
#include "kernels.h"

#ifdef __aarch64__
const struct instruction_set sks4_baseline = {
    "neon", kernel_single, kernel_double, block_kernel_single, block_kernel_double};
#else
const struct instruction_set sks4_baseline = {
    "baseline", kernel_single, kernel_double, block_kernel_single, block_kernel_double};
#endif

/* Vectors that every processor of the architecture has, and the choice of an instruction set. */

#define VECTOR_BYTES 16
#include "step_kernels.h"
#include "target.h"

static const struct step_kernels baseline = {step_kernel_single, step_kernel_double};
#ifdef X86
extern const struct step_kernels sks4_step_avx2, sks4_step_avx512;
#endif

const struct step_kernels *step_kernels(const char *name) {
#ifdef X86
    if (!strcmp(name, "avx512")) return &sks4_step_avx512;
    if (!strcmp(name, "avx2")) return &sks4_step_avx2;
#endif
    (void)name;
    return &baseline;
}

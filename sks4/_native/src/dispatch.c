/* The instruction sets that the processor has, the best first. */

#include <stddef.h>

#include "recurrence.h"
#include "target.h"

extern const struct instruction_set sks4_baseline;
#ifdef X86
extern const struct instruction_set sks4_avx2, sks4_avx512;
#endif

int instruction_sets(const struct instruction_set *const **sets) {
    static const struct instruction_set *found[3];
    int count = 0;
#ifdef X86
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("fma"))
        found[count++] = &sks4_avx512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        found[count++] = &sks4_avx2;
#endif
    found[count++] = &sks4_baseline;
    *sets = found;
    return count;
}

#ifndef SKS4_TARGET_H
#define SKS4_TARGET_H

#if defined(__x86_64__) || defined(_M_X64)
#define X86
#endif

#endif

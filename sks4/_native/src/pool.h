/* A pool of threads that wait without spinning. */

#ifndef SKS4_POOL_H
#define SKS4_POOL_H

#include <stdint.h>

typedef int (*task)(const void *argument, int64_t item); /* 0, or -1 without memory */

/* Run `items` items on up to `threads` threads, that of the caller among them. Return 0, or -1 if
 * a task did. While another caller has the pool, and where no thread can be started, the caller
 * works alone. The threads of a forked process are its own. */
int pool_run(int threads, int64_t items, task run, const void *argument);

/* Threads that have been started and wait. */
int pool_size(void);

#endif

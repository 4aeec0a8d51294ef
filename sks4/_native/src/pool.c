#include "pool.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "target.h"
#include "threads.h"

#ifdef X86
#include <xmmintrin.h>
#endif

enum { MOST = 256 };

/* Numbers below the normal ones are zero inside a task: computing with them is many times slower. */
static uint64_t flush_subnormals(void) {
#if defined(X86)
    const unsigned before = _mm_getcsr();
    _mm_setcsr(before | 0x8040);
    return before;
#elif defined(__aarch64__)
    uint64_t before;
    __asm__ volatile("mrs %0, fpcr" : "=r"(before));
    __asm__ volatile("msr fpcr, %0" : : "r"(before | (UINT64_C(1) << 24)));
    return before;
#else
    return 0;
#endif
}

static void restore_subnormals(uint64_t before) {
#if defined(X86)
    _mm_setcsr((unsigned)before);
#elif defined(__aarch64__)
    __asm__ volatile("msr fpcr, %0" : : "r"(before));
#else
    (void)before;
#endif
}

/* What is being computed. */
struct work {
    task run;
    const void *argument;
    int64_t items;
    atomic_llong next;
    atomic_int failed;
};

static void do_items(struct work *work) {
    const uint64_t before = flush_subnormals();
    for (int64_t item; (item = atomic_fetch_add(&work->next, 1)) < work->items;)
        if (work->run(work->argument, item)) atomic_store(&work->failed, 1);
    restore_subnormals(before);
}

static struct {
    mutex lock;             /* of all below */
    condition wake, done;
    int started;            /* threads */
    int wanted;             /* threads that shall still take part in the work */
    int busy;               /* threads that take part */
    int taken;              /* whether a caller has the pool */
    struct work *work;
} pool = {.lock = MUTEX, .wake = CONDITION, .done = CONDITION};

static void worker(void) {
    mutex_lock(&pool.lock);
    for (;;) {
        while (!pool.wanted) condition_wait(&pool.wake, &pool.lock);
        pool.wanted--;
        pool.busy++;
        struct work *work = pool.work;
        mutex_unlock(&pool.lock);
        do_items(work);
        mutex_lock(&pool.lock);
        if (!--pool.busy) condition_signal(&pool.done);
    }
}

/* In the child of a fork there is only the thread that forked. */
static void forget_threads(void) {
    mutex_reset(&pool.lock);
    condition_reset(&pool.wake);
    condition_reset(&pool.done);
    pool.started = pool.wanted = pool.busy = pool.taken = 0;
    pool.work = NULL;
}

/* Take the pool for a piece of work and wake threads for it; return whether that was possible. */
static int take_pool(struct work *work, int helpers) {
    static int registered;
    mutex_lock(&pool.lock);
    const int free = !pool.taken;
    if (free) {
        if (!registered) registered = at_fork(forget_threads);
        while (pool.started < helpers && pool.started < MOST && start_thread(worker)) pool.started++;
        pool.taken = 1;
        pool.work = work;
        pool.wanted = helpers < pool.started ? helpers : pool.started;
        for (int i = 0; i < pool.wanted; i++) condition_signal(&pool.wake);
    }
    mutex_unlock(&pool.lock);
    return free;
}

static void return_pool(void) {
    mutex_lock(&pool.lock);
    pool.wanted = 0; /* who has not begun by now finds nothing left to do */
    while (pool.busy) condition_wait(&pool.done, &pool.lock);
    pool.taken = 0;
    pool.work = NULL;
    mutex_unlock(&pool.lock);
}

int pool_run(int threads, int64_t items, task run, const void *argument) {
    struct work work = {.run = run, .argument = argument, .items = items};
    const int64_t helpers = (threads < items ? threads : items) - 1;
    const int shared = helpers > 0 && take_pool(&work, (int)helpers);
    do_items(&work);
    if (shared) return_pool();
    return atomic_load(&work.failed) ? -1 : 0;
}

int pool_size(void) {
    mutex_lock(&pool.lock);
    const int size = pool.started;
    mutex_unlock(&pool.lock);
    return size;
}

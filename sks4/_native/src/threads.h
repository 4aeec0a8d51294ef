/* Locks, conditions and threads of the operating system. */

#ifndef SKS4_THREADS_H
#define SKS4_THREADS_H

#ifdef _WIN32

#include <windows.h>

typedef SRWLOCK mutex;
typedef CONDITION_VARIABLE condition;
#define MUTEX SRWLOCK_INIT
#define CONDITION CONDITION_VARIABLE_INIT

static inline void mutex_lock(mutex *m) { AcquireSRWLockExclusive(m); }
static inline void mutex_unlock(mutex *m) { ReleaseSRWLockExclusive(m); }
static inline void mutex_reset(mutex *m) { InitializeSRWLock(m); }
static inline void condition_wait(condition *c, mutex *m) {
    SleepConditionVariableSRW(c, m, INFINITE, 0);
}
static inline void condition_signal(condition *c) { WakeConditionVariable(c); }
static inline void condition_reset(condition *c) { InitializeConditionVariable(c); }

static DWORD WINAPI enter_thread(void *run) {
    ((void (*)(void))run)();
    return 0;
}
static inline int start_thread(void (*run)(void)) {
    HANDLE thread = CreateThread(NULL, 0, enter_thread, (void *)run, 0, NULL);
    return thread && CloseHandle(thread);
}
static inline int at_fork(void (*run)(void)) {
    (void)run; /* processes do not fork */
    return 1;
}

#else

#include <pthread.h>
#include <signal.h>

typedef pthread_mutex_t mutex;
typedef pthread_cond_t condition;
#define MUTEX PTHREAD_MUTEX_INITIALIZER
#define CONDITION PTHREAD_COND_INITIALIZER

static inline void mutex_lock(mutex *m) { pthread_mutex_lock(m); }
static inline void mutex_unlock(mutex *m) { pthread_mutex_unlock(m); }
static inline void mutex_reset(mutex *m) { pthread_mutex_init(m, NULL); }
static inline void condition_wait(condition *c, mutex *m) { pthread_cond_wait(c, m); }
static inline void condition_signal(condition *c) { pthread_cond_signal(c); }
static inline void condition_reset(condition *c) { pthread_cond_init(c, NULL); }

static void *enter_thread(void *run) {
    ((void (*)(void))run)();
    return NULL;
}
/* Signals are for the threads that others know of. */
static inline int start_thread(void (*run)(void)) {
    pthread_t thread;
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const int failed = pthread_create(&thread, NULL, enter_thread, (void *)run);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!failed) pthread_detach(thread);
    return !failed;
}
static inline int at_fork(void (*run)(void)) { return !pthread_atfork(NULL, NULL, run); }

#endif

#endif

/* The Python module. It takes addresses and sizes as integers, and knows of no array library. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <string.h>

#include "memory.h"
#include "pool.h"
#include "recurrence.h"
#include "step.h"

#ifndef SOURCE_HASH
#define SOURCE_HASH "unknown"
#endif

static const struct instruction_set *in_use;

/* -- arguments */

struct reader {
    PyObject *const *numbers;
    Py_ssize_t left;
};

static int64_t next_number(struct reader *r) {
    if (r->left <= 0) {
        if (!PyErr_Occurred()) PyErr_SetString(PyExc_TypeError, "too few numbers");
        return 0;
    }
    r->left--;
    return PyLong_AsLongLong(*r->numbers++);
}

static void *next_address(struct reader *r) { return (void *)(intptr_t)next_number(r); }

static struct signal next_signal(struct reader *r) {
    struct signal s;
    s.data = next_address(r);
    s.batch_stride = next_number(r);
    s.time_stride = next_number(r);
    s.feature_stride = next_number(r);
    return s;
}

static struct systems next_systems(struct reader *r) {
    struct systems s;
    s.e_re = next_address(r);
    s.e_im = next_address(r);
    s.q = next_address(r);
    s.r = next_address(r);
    s.b = next_address(r);
    s.c = next_address(r);
    s.d = next_address(r);
    return s;
}

/* Read what both passes have in common; return the number of threads. */
static int read_common(struct reader *r, struct job *job, const struct kernel **kernel) {
    const int64_t threads = next_number(r), twice = next_number(r);
    *kernel = twice ? &in_use->twice : &in_use->single;
    job->batch = next_number(r);
    job->length = next_number(r);
    job->H = next_number(r);
    job->M = next_number(r);
    job->rank = next_number(r);
    job->reverse = next_number(r);
    job->lengths = next_address(r);
    job->systems = next_systems(r);
    job->u = next_signal(r);
    job->kept = next_address(r);
    return (int)threads;
}

static int finish_reading(struct reader *r, const struct job *job) {
    if (!PyErr_Occurred() && r->left) PyErr_SetString(PyExc_TypeError, "too many numbers");
    if (!PyErr_Occurred() && (job->rank < 0 || job->rank > MAX_RANK))
        PyErr_SetString(PyExc_ValueError, "the rank must be 0, 1 or 2");
    return PyErr_Occurred() ? -1 : 0;
}

/* -- passes */

/* Cut the work into items, which depend on the number of threads alone. */
static void cut(struct job *job, int64_t lanes, int threads) {
    job->groups = (job->H + lanes - 1) / lanes;
    job->splits = 1;
    if (job->groups % threads) {
        job->splits = (4 * threads + job->groups - 1) / job->groups;
        if (job->splits > job->batch) job->splits = job->batch > 1 ? job->batch : 1;
    }
}

static PyObject *finish(int failed) {
    if (failed) return PyErr_NoMemory();
    Py_RETURN_NONE;
}

static PyObject *forward(PyObject *self, PyObject *const *args, Py_ssize_t count) {
    struct reader r = {args, count};
    struct job job = {0};
    const struct kernel *kernel;
    (void)self;
    const int threads = read_common(&r, &job, &kernel);
    job.y = next_signal(&r);
    job.state = next_address(&r);
    job.last = next_address(&r);
    if (finish_reading(&r, &job)) return NULL;
    int failed;
    cut(&job, kernel->lanes, threads);
    Py_BEGIN_ALLOW_THREADS
    failed = pool_run(threads, job.groups * job.splits, (task)kernel->forward, &job);
    Py_END_ALLOW_THREADS
    return finish(failed);
}

static PyObject *backward(PyObject *self, PyObject *const *args, Py_ssize_t count) {
    struct reader r = {args, count};
    struct job job = {0};
    const struct kernel *kernel;
    (void)self;
    const int threads = read_common(&r, &job, &kernel);
    job.gy = next_signal(&r);
    job.gu = next_signal(&r);
    job.g_last = next_address(&r);
    job.g_state = next_address(&r);
    job.g_systems = next_systems(&r);
    if (finish_reading(&r, &job)) return NULL;
    int failed;
    cut(&job, kernel->lanes, threads);
    const int64_t items = job.groups * job.splits;
    const int64_t numbers = (job.M * (6 + 4 * job.rank) + 1) * kernel->lanes;
    Py_BEGIN_ALLOW_THREADS
    job.partial = allocate((size_t)(items * numbers) * sizeof(double));
    failed = !job.partial || pool_run(threads, items, (task)kernel->backward, &job);
    if (!failed) kernel->reduce(&job);
    release(job.partial);
    Py_END_ALLOW_THREADS
    return finish(failed);
}

/* -- the element-wise parts of a block */

enum { LEAST_ROWS = 64, MOST_ITEMS = 64 }; /* of an item, of a call */

static double next_real(struct reader *r) {
    if (r->left <= 0) {
        if (!PyErr_Occurred()) PyErr_SetString(PyExc_TypeError, "too few numbers");
        return 0;
    }
    r->left--;
    return PyFloat_AsDouble(*r->numbers++);
}

static PyObject *block(PyObject *self, PyObject *const *args, Py_ssize_t count) {
    struct reader r = {args, count};
    struct block_job job;
    (void)self;
    const int64_t pass = next_number(&r), threads = next_number(&r), twice = next_number(&r);
    job.rows = next_number(&r);
    job.length = next_number(&r);
    job.H = next_number(&r);
    job.epsilon = next_real(&r);
    job.x = next_address(&r);
    job.other = next_address(&r);
    job.factors = next_address(&r);
    job.weight = next_address(&r);
    job.bias = next_address(&r);
    job.out = next_address(&r);
    job.mean = next_address(&r);
    job.rstd = next_address(&r);
    job.g_weight = next_address(&r);
    job.g_bias = next_address(&r);
    if (!PyErr_Occurred() && r.left) PyErr_SetString(PyExc_TypeError, "too many numbers");
    if (!PyErr_Occurred() && (pass < 0 || pass >= N_BLOCK_PASSES))
        PyErr_SetString(PyExc_ValueError, "there is no such pass");
    if (PyErr_Occurred()) return NULL;
    const struct block_kernel *kernel = twice ? &in_use->block_twice : &in_use->block_single;
    const int64_t shares = (job.rows + MOST_ITEMS - 1) / MOST_ITEMS;
    job.rows_of_item = shares > LEAST_ROWS ? shares : LEAST_ROWS;
    const int64_t items = (job.rows + job.rows_of_item - 1) / job.rows_of_item;
    const size_t bytes = (size_t)(items * 2 * job.H) * (twice ? sizeof(double) : sizeof(float));
    int failed;
    Py_BEGIN_ALLOW_THREADS
    job.partial = pass == NORMALIZE_BACK ? allocate(bytes) : NULL;
    failed = (pass == NORMALIZE_BACK && !job.partial) ||
             pool_run((int)threads, items, (task)kernel->passes[pass], &job);
    if (pass == NORMALIZE_BACK && !failed) kernel->reduce(&job, items);
    release(job.partial);
    Py_END_ALLOW_THREADS
    return finish(failed);
}

/* -- steps */

/* Read the address of a plan and `count` numbers more; return NULL with an error set. */
static void *read_plan(PyObject *const *args, Py_ssize_t given, int count, int64_t *numbers) {
    struct reader r = {args, given};
    void *plan = next_address(&r);
    for (int i = 0; i < count; i++) numbers[i] = next_number(&r);
    if (!PyErr_Occurred() && r.left) PyErr_SetString(PyExc_TypeError, "too many numbers");
    return PyErr_Occurred() ? NULL : plan;
}

static const struct step_kernel *kernel_of(const struct step_plan *plan) {
    const struct step_kernels *kernels = step_kernels(in_use->name);
    return plan->is_double ? &kernels->twice : &kernels->single;
}

static PyObject *step(PyObject *self, PyObject *const *args, Py_ssize_t count) {
    int64_t n[3]; /* address of the input, steps, stride of streams */
    (void)self;
    struct step_plan *plan = read_plan(args, count, 3, n);
    if (!plan) return NULL;
    const struct step_kernel *kernel = kernel_of(plan);
    Py_BEGIN_ALLOW_THREADS
    kernel->step(plan, (const void *)(intptr_t)n[0], n[1], n[2]);
    Py_END_ALLOW_THREADS
    Py_RETURN_NONE;
}

static PyObject *draw(PyObject *self, PyObject *const *args, Py_ssize_t count) {
    int64_t n[4]; /* addresses of the noise, the second one and what is drawn; number of draws */
    (void)self;
    struct draw_plan *plan = read_plan(args, count, 4, n);
    if (!plan) return NULL;
    const struct step_kernel *kernel = kernel_of((struct step_plan *)(intptr_t)plan->steps);
    Py_BEGIN_ALLOW_THREADS
    kernel->draw(plan, (const void *)(intptr_t)n[0], (const void *)(intptr_t)n[1],
                 (void *)(intptr_t)n[2], n[3]);
    Py_END_ALLOW_THREADS
    Py_RETURN_NONE;
}

#define PLAN_CALL(name)                                                                     \
    static PyObject *name(PyObject *self, PyObject *const *args, Py_ssize_t count) {        \
        (void)self;                                                                         \
        struct step_plan *plan = read_plan(args, count, 0, NULL);                           \
        if (!plan) return NULL;                                                             \
        kernel_of(plan)->name(plan);                                                        \
        Py_RETURN_NONE;                                                                     \
    }
PLAN_CALL(refresh)
PLAN_CALL(flush)
PLAN_CALL(read_outputs)

/* -- instruction sets and threads */

static PyObject *names(PyObject *self, PyObject *none) {
    const struct instruction_set *const *sets;
    const int count = instruction_sets(&sets);
    PyObject *tuple = PyTuple_New(count);
    (void)self, (void)none;
    for (int i = 0; tuple && i < count; i++) {
        PyObject *name = PyUnicode_FromString(sets[i]->name);
        if (!name || PyTuple_SetItem(tuple, i, name)) Py_CLEAR(tuple);
    }
    return tuple;
}

static PyObject *use(PyObject *self, PyObject *name) {
    const struct instruction_set *const *sets;
    const int count = instruction_sets(&sets);
    (void)self;
    PyObject *bytes = PyUnicode_AsUTF8String(name);
    if (!bytes) return NULL;
    const char *wanted = PyBytes_AsString(bytes);
    int found = 0;
    for (int i = 0; i < count; i++)
        if (!strcmp(sets[i]->name, wanted)) {
            in_use = sets[i];
            found = 1;
        }
    Py_DECREF(bytes);
    if (!found) {
        PyErr_Format(PyExc_ValueError, "this processor and binary have no %R", name);
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *used(PyObject *self, PyObject *none) {
    (void)self, (void)none;
    return PyUnicode_FromString(in_use->name);
}

static PyObject *lanes(PyObject *self, PyObject *twice) {
    (void)self;
    const int is_twice = PyObject_IsTrue(twice);
    if (is_twice < 0) return NULL;
    return PyLong_FromLongLong((is_twice ? in_use->twice : in_use->single).lanes);
}

static PyObject *started_threads(PyObject *self, PyObject *none) {
    (void)self, (void)none;
    return PyLong_FromLong(pool_size());
}

static PyMethodDef functions[] = {
    {"forward", (PyCFunction)(void (*)(void))forward, METH_FASTCALL, "Run the recurrence."},
    {"backward", (PyCFunction)(void (*)(void))backward, METH_FASTCALL, "Run its adjoint."},
    {"block", (PyCFunction)(void (*)(void))block, METH_FASTCALL, "Run a part of a block."},
    {"step", (PyCFunction)(void (*)(void))step, METH_FASTCALL, "Take patches by a plan."},
    {"draw", (PyCFunction)(void (*)(void))draw, METH_FASTCALL, "Draw values one by one."},
    {"refresh", (PyCFunction)(void (*)(void))refresh, METH_FASTCALL, "Follow changed states."},
    {"flush", (PyCFunction)(void (*)(void))flush, METH_FASTCALL, "Count recent features."},
    {"read", (PyCFunction)(void (*)(void))read_outputs, METH_FASTCALL, "Write the outputs."},
    {"instruction_sets", names, METH_NOARGS, "Return the names of those to choose from."},
    {"use", use, METH_O, "Use an instruction set from now on."},
    {"used", used, METH_NOARGS, "Return the name of the instruction set in use."},
    {"lanes", lanes, METH_O, "Return how many features, of doubles or not, are computed at once."},
    {"started_threads", started_threads, METH_NOARGS, "Return how many threads wait for work."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_core", "The compiled recurrence.", -1, functions, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__core(void) {
    const struct instruction_set *const *sets;
    instruction_sets(&sets);
    in_use = sets[0];
    PyObject *module = PyModule_Create(&definition);
    if (module && (PyModule_AddIntConstant(module, "BLOCK", BLOCK) ||
                   PyModule_AddIntConstant(module, "RECENT", RECENT) ||
                   PyModule_AddStringConstant(module, "SOURCE_HASH", SOURCE_HASH)))
        Py_CLEAR(module);
    return module;
}

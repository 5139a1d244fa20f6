/* The door between the host and the interpreter: the exports of the guest ABI
 * and the module _sbx. Everything that a session does is in session.py; this
 * file only starts the interpreter and hands it source text. */
#define Py_BUILD_CORE 1
#include <Python.h>

#include "pycore_ceval.h"
#include "pycore_pystate.h"
#include "pycore_runtime.h"

#include <pthread.h>
#include <signal.h>

#include "sqlite3.h"

#define EXPORT(name) __attribute__((export_name(name)))
#define IMPORT(name) __attribute__((import_module("sbx"), import_name(name)))

IMPORT("tick") void sbx_tick(void);
IMPORT("call") int sbx_call(const void *p, int n, void *out, int cap);

PyMODINIT_FUNC PyInit__sqlite3(void);

static char *buffer;
static int capacity;
static PyObject *run;         /* session.run */
static uint32_t interrupt[3]; /* what sbx_intr_addrs tells */

/* call(request: bytes) -> bytes asks the host. The answer is fetched in a
 * second step, once its size is known. */
static PyObject *call(PyObject *self, PyObject *arg) {
    char *request;
    Py_ssize_t n;
    if (PyBytes_AsStringAndSize(arg, &request, &n) < 0) {
        return NULL;
    }
    int size = sbx_call(request, (int)n, NULL, 0);
    if (size < 0) {
        PyErr_SetString(PyExc_OSError, "the host refused the request");
        return NULL;
    }
    PyObject *answer = PyBytes_FromStringAndSize(NULL, size);
    if (answer == NULL) {
        return NULL;
    }
    if (sbx_call(NULL, 0, PyBytes_AS_STRING(answer), size) != size) {
        Py_DECREF(answer);
        PyErr_SetString(PyExc_OSError, "the host took its answer back");
        return NULL;
    }
    return answer;
}

static int deadlock(void *unused) {
    PyErr_SetString(PyExc_RuntimeError,
                    "deadlock: the lock is taken, and there is no other thread that could release it");
    return -1;
}

/* The C library's own traps here, which would end the session. This one wakes
 * up at once: a Python-level lock then runs the pending call, which raises. */
int pthread_cond_wait(pthread_cond_t *cond, pthread_mutex_t *mutex) {
    Py_AddPendingCall(deadlock, NULL);
    return 0;
}

static PyMethodDef methods[] = {
    {"call", call, METH_O, "call(request: bytes) -> bytes\n\nAsk the host."},
    {NULL},
};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_sbx", NULL, -1, methods};

static PyObject *PyInit__sbx(void) {
    return PyModule_Create(&module);
}

/* start makes the interpreter. Returns NULL, or what went wrong. */
static const char *start(void) {
    PyPreConfig pre;
    PyPreConfig_InitIsolatedConfig(&pre);
    pre.utf8_mode = 1;
    PyStatus status = Py_PreInitialize(&pre);
    if (PyStatus_Exception(status)) {
        return status.err_msg;
    }
    PyConfig config;
    PyConfig_InitIsolatedConfig(&config);
    config.install_signal_handlers = 1; /* KeyboardInterrupt */
    config.write_bytecode = 0;
    config.site_import = 0;
    config.pathconfig_warnings = 0;
    config.use_hash_seed = 1; /* a snapshot has one seed anyway; fixed, so that builds agree */
    config.hash_seed = 0;
    config.module_search_paths_set = 1;
    status = PyConfig_SetString(&config, &config.program_name, L"python3");
    if (!PyStatus_Exception(status)) {
        status = PyConfig_SetString(&config, &config.executable, L"");
    }
    if (!PyStatus_Exception(status)) {
        status = PyConfig_SetString(&config, &config.home, L"/lib");
    }
    if (!PyStatus_Exception(status)) {
        status = PyWideStringList_Append(&config.module_search_paths, L"/lib/python313.zip");
    }
    if (!PyStatus_Exception(status)) {
        status = Py_InitializeFromConfig(&config);
    }
    PyConfig_Clear(&config);
    return PyStatus_Exception(status) ? status.err_msg : NULL;
}

EXPORT("sbx_init")
int sbx_init(void) {
    /* WASI has no file locks: the plain system interface of SQLite fails. */
    if (sqlite3_initialize() != SQLITE_OK ||
        sqlite3_vfs_register(sqlite3_vfs_find("unix-none"), 1) != SQLITE_OK) {
        return -1;
    }
    if (PyImport_AppendInittab("_sbx", PyInit__sbx) < 0 ||
        PyImport_AppendInittab("_sqlite3", PyInit__sqlite3) < 0) {
        return -2;
    }
    const char *wrong = start();
    if (wrong != NULL) {
        fprintf(stderr, "%s\n", wrong);
        return -3;
    }
    PyObject *session = PyImport_ImportModule("_session");
    if (session != NULL) {
        run = PyObject_GetAttrString(session, "run");
        Py_DECREF(session);
    }
    if (run == NULL) {
        PyErr_Print();
        return -4;
    }
    return 0;
}

EXPORT("sbx_buf")
char *sbx_buf(int n) {
    if (n < 0 || n == INT_MAX) {
        return NULL;
    }
    if (n >= capacity) {
        char *more = realloc(buffer, (size_t)n + 1);
        if (more == NULL) {
            return NULL;
        }
        buffer = more;
        capacity = n + 1;
    }
    return buffer;
}

EXPORT("sbx_exec")
int sbx_exec(int n) {
    if (run == NULL || buffer == NULL || n < 0 || n >= capacity) {
        return -1;
    }
    /* An interrupt that came when the last program was already done is not
     * meant for this one. */
    _Py_atomic_store_int(&_PyRuntime.signals.handlers[SIGINT].tripped, 0);
    PyObject *source = PyUnicode_DecodeUTF8(buffer, n, "replace");
    PyObject *result = source == NULL ? NULL : PyObject_CallOneArg(run, source);
    Py_XDECREF(source);
    if (result == NULL) {
        PyErr_Clear(); /* no memory left even to report it */
        return 1;
    }
    int code = (int)PyLong_AsLong(result);
    Py_DECREF(result);
    return code;
}

EXPORT("sbx_intr_addrs")
uint32_t *sbx_intr_addrs(void) {
    interrupt[0] = (uint32_t)(uintptr_t)&_PyRuntime.signals.handlers[SIGINT].tripped;
    interrupt[1] = (uint32_t)(uintptr_t)&_PyRuntime.signals.is_tripped;
    interrupt[2] = (uint32_t)(uintptr_t)&_PyThreadState_GET()->eval_breaker;
    return interrupt;
}

_Static_assert(_PY_SIGNALS_PENDING_BIT == 2, "the host sets this bit of the eval breaker");

EXPORT("sbx_keep")
void sbx_keep(void) {
    sbx_tick();
}

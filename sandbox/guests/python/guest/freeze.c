/* The first stage: an interpreter without a library that does one thing,
 * compile Python source to the marshalled code that the second stage freezes
 * and puts into the library's archive. It runs at build time only. */
#include <Python.h>
#include <marshal.h>

#include "pycore_import.h"

#define EXPORT(name) __attribute__((export_name(name)))

static const struct _frozen none[] = {{0}};
static const struct _module_alias no_aliases[] = {{0}};

const struct _frozen *_PyImport_FrozenBootstrap = none;
const struct _frozen *_PyImport_FrozenStdlib = none;
const struct _frozen *_PyImport_FrozenTest = none;
const struct _frozen *PyImport_FrozenModules = none;
const struct _module_alias *_PyImport_FrozenAliases = no_aliases;

static char *buffer;
static PyObject *result;

EXPORT("freeze_init")
int freeze_init(void) {
    PyConfig config;
    PyConfig_InitIsolatedConfig(&config);
    config.site_import = 0;
    config.use_hash_seed = 1; /* the same bytes at every build */
    config.hash_seed = 0;
    config._install_importlib = 0;
    config._init_main = 0;
    PyStatus status = PyConfig_SetString(&config, &config.program_name, L"freeze");
    if (!PyStatus_Exception(status)) {
        status = Py_InitializeFromConfig(&config);
    }
    PyConfig_Clear(&config);
    if (PyStatus_Exception(status)) {
        fprintf(stderr, "%s\n", status.err_msg ? status.err_msg : "exit");
        return -1;
    }
    return 0;
}

/* The caller writes the file name, a NUL, the source, a NUL. */
EXPORT("freeze_buf")
char *freeze_buf(int n) {
    free(buffer);
    return buffer = malloc(n);
}

/* Returns the size of the marshalled code, -1 after an error on stderr. */
EXPORT("freeze")
int freeze(void) {
    Py_CLEAR(result);
    const char *source = buffer + strlen(buffer) + 1;
    PyObject *code = Py_CompileStringExFlags(source, buffer, Py_file_input, NULL, 0);
    if (code != NULL) {
        result = PyMarshal_WriteObjectToString(code, Py_MARSHAL_VERSION);
        Py_DECREF(code);
    }
    if (result == NULL) {
        PyErr_Print();
        return -1;
    }
    return (int)PyBytes_GET_SIZE(result);
}

EXPORT("freeze_result")
char *freeze_result(void) {
    return PyBytes_AS_STRING(result);
}

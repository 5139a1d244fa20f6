/* The modules that are linked into the interpreter. There is no dynamic
 * loading: a name that is not here and not in the library's archive cannot be
 * imported. */
#include "Python.h"

#define MODULES(M)                                                            \
    M(array) M(_asyncio) M(_bisect) M(_contextvars) M(_csv) M(_heapq)         \
    M(_json) M(_lsprof) M(_opcode) M(_pickle) M(_queue) M(_random)            \
    M(_struct) M(_zoneinfo) M(math) M(cmath) M(_statistics) M(_datetime)      \
    M(_decimal) M(binascii) M(zlib) M(_md5) M(_sha1) M(_sha2) M(_sha3)        \
    M(_blake2) M(pyexpat) M(_elementtree) M(_codecs_cn) M(_codecs_hk)         \
    M(_codecs_iso2022) M(_codecs_jp) M(_codecs_kr) M(_codecs_tw)              \
    M(_multibytecodec) M(unicodedata) M(select) M(_socket) M(atexit)          \
    M(faulthandler) M(posix) M(_signal) M(_tracemalloc) M(_suggestions)       \
    M(_codecs) M(_collections) M(errno) M(_io) M(itertools) M(_sre)           \
    M(_sysconfig) M(_thread) M(time) M(_typing) M(_weakref) M(_abc)           \
    M(_functools) M(_locale) M(_operator) M(_stat) M(_symtable) M(_imp)       \
    M(_ast) M(_tokenize) M(gc) M(_string)

#define DECLARE(name) extern PyObject *PyInit_##name(void);
#define ENTRY(name) {#name, PyInit_##name},

MODULES(DECLARE)
extern PyObject *PyMarshal_Init(void);
extern PyObject *_PyWarnings_Init(void);

struct _inittab _PyImport_Inittab[] = {
    MODULES(ENTRY)
    {"marshal", PyMarshal_Init},
    {"_warnings", _PyWarnings_Init},
    {"builtins", NULL}, /* both are made by the interpreter itself */
    {"sys", NULL},
    {NULL, NULL},
};

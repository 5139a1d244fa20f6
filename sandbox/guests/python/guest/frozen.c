/* The modules that exist before anything can be imported from the archive.
 * The first stage has made their code; the file names are in python.go. */
#include "Python.h"

#include "pycore_import.h"

#include <stdbool.h>

static const unsigned char bootstrap[] = {
#embed "importlib._bootstrap.bin"
};
static const unsigned char external[] = {
#embed "importlib._bootstrap_external.bin"
};
static const unsigned char zip[] = {
#embed "zipimport.bin"
};

static const struct _frozen modules[] = {
    {"_frozen_importlib", bootstrap, (int)sizeof bootstrap, false},
    {"_frozen_importlib_external", external, (int)sizeof external, false},
    {"zipimport", zip, (int)sizeof zip, false},
    {0},
};
static const struct _frozen none[] = {{0}};
static const struct _module_alias aliases[] = {
    {"_frozen_importlib", "importlib._bootstrap"},
    {"_frozen_importlib_external", "importlib._bootstrap_external"},
    {0},
};

const struct _frozen *_PyImport_FrozenBootstrap = modules;
const struct _frozen *_PyImport_FrozenStdlib = none;
const struct _frozen *_PyImport_FrozenTest = none;
const struct _frozen *PyImport_FrozenModules = NULL;
const struct _module_alias *_PyImport_FrozenAliases = aliases;

package python

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// A unit is one C file to compile. path is relative to tree, and also what the
// object is called after.
type unit struct {
	tree, path string
	flags      []string
}

// Files of CPython that are for other systems or are included by others, and
// those that a file of ours stands for.
var left = []string{
	"Python/bytecodes.c", "Python/optimizer_bytecodes.c", "Python/jit.c",
	"Python/dynload_hpux.c", "Python/dynload_shlib.c", "Python/dynload_win.c",
	"Python/emscripten_signal.c", "Python/emscripten_trampoline.c",
	"Python/frozen.c", "Python/frozenmain.c",
}

// The directories that are compiled whole.
var cores = []string{"Objects/*.c", "Parser/*.c", "Parser/lexer/*.c", "Parser/tokenizer/*.c", "Python/*.c"}

// The modules, as in guest/config.c.
const modules = `
	Modules/_abc.c Modules/_asynciomodule.c Modules/_bisectmodule.c Modules/_codecsmodule.c
	Modules/_collectionsmodule.c Modules/_contextvarsmodule.c Modules/_csv.c Modules/_datetimemodule.c
	Modules/_functoolsmodule.c Modules/_heapqmodule.c Modules/_json.c Modules/_localemodule.c
	Modules/_lsprof.c Modules/_opcode.c Modules/_operator.c Modules/_pickle.c Modules/_queuemodule.c
	Modules/_randommodule.c Modules/_stat.c Modules/_statisticsmodule.c Modules/_struct.c
	Modules/_suggestions.c Modules/_sysconfig.c Modules/_threadmodule.c Modules/_tracemalloc.c
	Modules/_typingmodule.c Modules/_weakref.c Modules/_zoneinfo.c Modules/arraymodule.c
	Modules/atexitmodule.c Modules/binascii.c Modules/cmathmodule.c Modules/errnomodule.c
	Modules/faulthandler.c Modules/gcmodule.c Modules/itertoolsmodule.c
	Modules/mathmodule.c Modules/posixmodule.c Modules/rotatingtree.c Modules/selectmodule.c
	Modules/signalmodule.c Modules/socketmodule.c Modules/symtablemodule.c Modules/timemodule.c
	Modules/unicodedata.c Modules/zlibmodule.c
	Modules/_io/_iomodule.c Modules/_io/bufferedio.c Modules/_io/bytesio.c Modules/_io/fileio.c
	Modules/_io/iobase.c Modules/_io/stringio.c Modules/_io/textio.c Modules/_sre/sre.c
	Modules/cjkcodecs/_codecs_cn.c Modules/cjkcodecs/_codecs_hk.c Modules/cjkcodecs/_codecs_iso2022.c
	Modules/cjkcodecs/_codecs_jp.c Modules/cjkcodecs/_codecs_kr.c Modules/cjkcodecs/_codecs_tw.c
	Modules/cjkcodecs/multibytecodec.c
	Modules/_blake2/blake2b_impl.c Modules/_blake2/blake2module.c Modules/_blake2/blake2s_impl.c`

const hashes = `
	Modules/md5module.c Modules/sha1module.c Modules/sha2module.c Modules/sha3module.c
	Modules/_hacl/Hacl_Hash_MD5.c Modules/_hacl/Hacl_Hash_SHA1.c Modules/_hacl/Hacl_Hash_SHA2.c
	Modules/_hacl/Hacl_Hash_SHA3.c`

const decimals = `
	Modules/_decimal/_decimal.c Modules/_decimal/libmpdec/basearith.c Modules/_decimal/libmpdec/constants.c
	Modules/_decimal/libmpdec/context.c Modules/_decimal/libmpdec/convolute.c Modules/_decimal/libmpdec/crt.c
	Modules/_decimal/libmpdec/difradix2.c Modules/_decimal/libmpdec/fnt.c Modules/_decimal/libmpdec/fourstep.c
	Modules/_decimal/libmpdec/io.c Modules/_decimal/libmpdec/mpalloc.c Modules/_decimal/libmpdec/mpdecimal.c
	Modules/_decimal/libmpdec/numbertheory.c Modules/_decimal/libmpdec/sixstep.c Modules/_decimal/libmpdec/transpose.c`

const expat = `
	Modules/pyexpat.c Modules/_elementtree.c
	Modules/expat/xmlparse.c Modules/expat/xmlrole.c Modules/expat/xmltok.c`

const databases = `
	Modules/_sqlite/blob.c Modules/_sqlite/connection.c Modules/_sqlite/cursor.c Modules/_sqlite/microprotocols.c
	Modules/_sqlite/module.c Modules/_sqlite/prepare_protocol.c Modules/_sqlite/row.c Modules/_sqlite/statement.c
	Modules/_sqlite/util.c`

const compression = `
	adler32.c crc32.c deflate.c infback.c inffast.c inflate.c inftrees.c trees.c zutil.c compress.c uncompr.c`

// warnings are off, since the sources are not ours; what would go wrong at run
// time is an error.
var common = []string{"-c", "-O2", "-DNDEBUG", "-w", "-Werror=implicit-function-declaration", "-Wno-int-conversion",
	"-fvisibility=hidden"}

// sqliteFlags leave out what the sandbox could not use (threads, locks,
// extensions, mapped files) and keep temporary tables in memory.
var sqliteFlags = []string{
	"-DSQLITE_CORE", "-DSQLITE_USE_URI=1", "-DSQLITE_THREADSAFE=0", "-DSQLITE_OMIT_LOAD_EXTENSION",
	"-DSQLITE_OMIT_WAL", "-DSQLITE_OMIT_SHARED_CACHE", "-DSQLITE_ENABLE_MATH_FUNCTIONS", "-DSQLITE_ENABLE_FTS5", "-DSQLITE_ENABLE_PERCENTILE",
	"-DSQLITE_DEFAULT_MEMSTATUS=0", "-DSQLITE_TEMP_STORE=3", "-DSQLITE_DEFAULT_LOCKING_MODE=0",
	"-DSQLITE_MAX_MMAP_SIZE=0", "-D_WASI_EMULATED_GETPID", "-D_WASI_EMULATED_MMAN",
}

// driver is the part of the second stage that is ours.
func (t trees) driver() unit { return unit{t.own, "driver.c", t.python("-I" + t.sqlite)} }

// trees are the directories of sources: the files of this package and those
// that were fetched.
type trees struct{ own, cpython, zlib, sqlite string }

// python are the flags of a file that sees the interpreter's inside.
func (t trees) python(flags ...string) []string {
	return append([]string{"-std=gnu11", "-fwrapv", "-DPy_BUILD_CORE", "-I" + t.own, "-I" + t.zlib,
		t.in("Include"), t.in("Include/internal")}, flags...)
}

func (t trees) in(dir string) string { return "-I" + filepath.Join(t.cpython, dir) }

// both lists what the two stages have in common.
func (t trees) both() (list []unit, err error) {
	add := func(tree, paths string, flags ...string) {
		for _, p := range strings.Fields(paths) {
			list = append(list, unit{tree, p, flags})
		}
	}
	for _, pattern := range cores {
		files, err := filepath.Glob(filepath.Join(t.cpython, pattern))
		if err != nil || len(files) == 0 {
			return nil, fmt.Errorf("the sources of CPython have no %s", pattern)
		}
		for _, f := range files {
			p, err := filepath.Rel(t.cpython, f)
			if err != nil {
				return nil, err
			}
			switch p = filepath.ToSlash(p); {
			case slices.Contains(left, p):
			case p == "Python/getplatform.c":
				add(t.cpython, p, t.python(`-DPLATFORM="wasi"`)...)
			case p == "Python/sysmodule.c":
				add(t.cpython, p, t.python(`-DABIFLAGS=""`)...)
			case p == "Python/dtoa.c":
				add(t.cpython, p, t.python("-fno-strict-aliasing")...)
			default:
				add(t.cpython, p, t.python()...)
			}
		}
	}
	add(t.own, "config.c", t.python()...)
	add(t.cpython, modules, t.python()...)
	// Else the time of the build would be in it.
	add(t.cpython, "Modules/getbuildinfo.c", t.python(`-DDATE="Jan  1 1980"`, `-DTIME="00:00:00"`)...)
	add(t.cpython, hashes, t.python(t.in("Modules/_hacl/include"), t.in("Modules/_hacl/internal"), "-D_BSD_SOURCE", "-D_DEFAULT_SOURCE")...)
	add(t.cpython, decimals, t.python(t.in("Modules/_decimal/libmpdec"), "-DCONFIG_32=1", "-DANSI=1")...)
	add(t.cpython, expat, t.python(t.in("Modules/expat"))...)
	add(t.zlib, compression)
	return list, nil
}

// first is what only the first stage has: no frozen modules, no search paths.
func (t trees) first() []unit {
	return []unit{
		{t.own, "freeze.c", t.python()},
		{t.cpython, "Modules/getpath_noop.c", t.python()},
	}
}

// second is what only the second stage has. frozen is the directory of what
// the first has compiled.
func (t trees) second(frozen string) []unit {
	embed := t.python("-I"+frozen, "--embed-dir="+frozen,
		`-DPREFIX="/"`, `-DEXEC_PREFIX="/"`, `-DVERSION="3.13"`, `-DVPATH=""`, `-DPYTHONPATH=""`)
	list := []unit{
		{t.own, "frozen.c", embed},
		{t.cpython, "Modules/getpath.c", embed},
		{t.sqlite, "sqlite3.c", sqliteFlags},
	}
	for _, p := range strings.Fields(databases) {
		list = append(list, unit{t.cpython, p, t.python("-I" + t.sqlite)})
	}
	return list
}

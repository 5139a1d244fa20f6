// Package sql builds the SQL guest: SQLite behind a driver of ours, as a
// WebAssembly reactor. SQLite's source is the amalgamation that a Go module
// carries, and the compiler comes from a Python package; both are pinned by hash.
package sql

import (
	"context"
	"embed"
	"fmt"
	"os"
	"path/filepath"

	"github.com/sallyport-gateway/sallyport/sandbox/guests/fetch"
	"github.com/sallyport-gateway/sallyport/sandbox/guests/guest"
)

// The Go module that carries the amalgamation, and its hash as in go.sum.
const (
	amalgamation = "github.com/mattn/go-sqlite3"
	version      = "v1.14.53"
	hash         = "h1:mnTM0owzUMrKuLo+0w51NUiB0ir2Fo7kFXlPt/l3BGs="
	sqlite       = "3.54.1" // that is in it
)

// stack is the size of the stack in bytes. It lies below the data, so that an
// overflow traps.
const stack = 1 << 20

//go:embed driver/*.c
var driver embed.FS

// sources are the files of the driver.
var sources = []string{"driver.c", "heap.c", "pattern.c"}

// flags are how SQLite is compiled: one thread, no shared memory, no loading of
// code, temporary tables in memory, identifiers never taken for strings.
func flags() []string {
	return []string{
		"-DSQLITE_CORE", "-DSQLITE_THREADSAFE=0", "-DSQLITE_USE_URI=1", "-DSQLITE_DQS=0", "-DSQLITE_DEFAULT_MEMSTATUS=0",
		"-DSQLITE_OMIT_LOAD_EXTENSION", "-DSQLITE_OMIT_WAL", "-DSQLITE_OMIT_SHARED_CACHE", "-DSQLITE_OMIT_DEPRECATED",
		"-DSQLITE_ENABLE_MATH_FUNCTIONS", "-DSQLITE_ENABLE_FTS5", "-DSQLITE_ENABLE_STAT4", "-DSQLITE_ENABLE_PERCENTILE",
		"-DSQLITE_TEMP_STORE=3", "-DSQLITE_DEFAULT_LOCKING_MODE=0", "-DSQLITE_MAX_MMAP_SIZE=0",
		"-DSQLITE_MAX_ATTACHED=125", "-DSQLITE_MAX_EXPR_DEPTH=200", "-DSQLITE_MAX_DEFAULT_PAGE_SIZE=65536",
		"-D_WASI_EMULATED_GETPID", "-D_WASI_EMULATED_MMAN",
	}
}

// Inputs is all that the built guest depends on.
func Inputs() (string, error) {
	root, err := fetch.Root()
	if err != nil {
		return "", err
	}
	src, err := fetch.Sources(root, "sandbox/guests/sql", "sandbox/guests/sql/driver")
	return fetch.Digest(src, fetch.ZigVersion(), hash), err
}

// Build builds the guest; what it links is kept in the cache.
func Build(ctx context.Context, _ string) (guest.Guest, error) {
	zig, err := fetch.Zig(ctx)
	if err != nil {
		return guest.Guest{}, err
	}
	src, err := fetch.Module(ctx, amalgamation, version, hash)
	if err != nil {
		return guest.Guest{}, err
	}
	inputs, err := Inputs()
	if err != nil {
		return guest.Guest{}, err
	}
	linked, err := fetch.Once(ctx, "sql-linked-"+inputs[:32], func(dir string) error { return compile(ctx, zig, src, dir) })
	if err != nil {
		return guest.Guest{}, err
	}
	return guest.Guest{Language: "sql", Wasm: filepath.Join(linked, linkedName), Stack: stack, Features: []string{"SQLite " + sqlite, "JSON", "FTS5", "math functions", "median", "stddev", "REGEXP", "generate_series", "date_trunc"},
		Sources: append([]guest.Source{
			{Name: "SQLite", Version: sqlite, SHA256: hash, Licence: "blessing (public domain)", Texts: []string{filepath.Join(src, "sqlite3-binding.h")}},
		}, guest.CLibrary(zig, fetch.ZigVersion())...)}, nil
}

// linkedName is the file of the linked module.
const linkedName = "sql.wasm"

// compile compiles and links SQLite with the driver into dir.
func compile(ctx context.Context, zig, src, dir string) error {
	var files []string
	for _, name := range sources {
		text, err := driver.ReadFile("driver/" + name)
		if err != nil {
			return err
		}
		files = append(files, filepath.Join(dir, name))
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			return err
		}
	}
	args := []string{"cc", "--target=wasm32-wasi", "-mexec-model=reactor", "-O2", "-g0", "-I", src}
	args = append(args, flags()...)
	args = append(append(args, filepath.Join(src, "sqlite3-binding.c")), files...)
	args = append(args, "-o", filepath.Join(dir, linkedName),
		fmt.Sprintf("-Wl,-z,stack-size=%d", stack), "-Wl,--export=__stack_pointer", "-Wl,--strip-all",
		"-lwasi-emulated-getpid", "-lwasi-emulated-mman", "-lm")
	cmd, err := fetch.ZigCommand(ctx, zig, dir, args...)
	if err != nil {
		return err
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("zig cc: %w\n%s", err, out)
	}
	return os.RemoveAll(filepath.Join(dir, ".zig-cache"))
}

// Package python builds the sandbox's Python: CPython as one WebAssembly
// module that the host calls (a reactor), and its library as one archive. The
// one rule: everything is made from sources that are fetched by hash, in the same
// way on any machine, so it asks for no C compiler, no configure script
// and no Python of the same version. See sandbox/RATIONALE.md, "The Python
// guest".
//
// It is built in two stages. The first is an interpreter without a library; it
// runs under wazero and compiles Python source to code objects. With those the
// second stage is linked, and the library's archive is made.
package python

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/sallyport-gateway/sallyport/sandbox/guests/fetch"
	"github.com/sallyport-gateway/sallyport/sandbox/guests/guest"
)

// Stack is the size of the interpreter's stack in bytes. Python's own limit of
// recursion keeps below it; what does not, traps.
const Stack = 4 << 20

// The amalgamation of SQLite comes with a Go module that binds it.
const (
	sqliteModule  = "github.com/mattn/go-sqlite3"
	sqliteRelease = "v1.14.53"
	sqliteVersion = "3.54.1"
	sqliteSum     = "h1:mnTM0owzUMrKuLo+0w51NUiB0ir2Fo7kFXlPt/l3BGs="
)

//go:embed guest python.go sources.go
var own embed.FS

// Inputs is a hash of all that the guest depends on.
func Inputs() string {
	return digest(own, digest(baseSources), digest(libraryCode), fetch.ZigVersion(), cpython.sha256, zlib.sha256, sqliteSum, fmt.Sprint(tzdata))
}

// digest hashes the files of fsys and what else there is.
func digest(fsys fs.FS, more ...string) string {
	var parts []string
	_ = fs.WalkDir(fsys, ".", func(p string, d fs.DirEntry, err error) error { // of embedded files: cannot fail
		if err == nil && !d.IsDir() {
			text, _ := fs.ReadFile(fsys, p)
			parts = append(parts, p, string(text))
		}
		return nil
	})
	return fetch.Digest(append(parts, more...)...)[:32]
}

// Build makes the guest below dir. A *fetch.Missing error says that this
// machine lacks something.
func Build(ctx context.Context, dir string) (guest.Guest, error) {
	zig, err := fetch.Zig(ctx)
	if err != nil {
		return guest.Guest{}, err
	}
	t, err := fetchTrees(ctx, dir)
	if err != nil {
		return guest.Guest{}, err
	}
	zones, err := fetch.Wheel(ctx, tzdata)
	if err != nil {
		return guest.Guest{}, err
	}
	b, err := makeBase(ctx, zig, t)
	if err != nil {
		return guest.Guest{}, err
	}
	lib, err := makeLibrary(ctx, b, t.cpython, zones)
	if err != nil {
		return guest.Guest{}, err
	}
	g := guest.Guest{
		Language: "python",
		Wasm:     filepath.Join(dir, "python.wasm"),
		Stack:    Stack,
		Files:    map[string]string{archive: filepath.Join(dir, "python313.zip")},
		Sources:  append(t.sources(zones), guest.CLibrary(zig, fetch.ZigVersion())...),
		Features: []string{"python 3.13", "sqlite3", "tzdata"},
	}
	c := compiler{zig: zig, dir: dir}
	driver, err := c.compile(ctx, []unit{t.driver()})
	if err != nil {
		return guest.Guest{}, err
	}
	if err := c.link(ctx, append(driver, b.objects...), g.Wasm, Stack); err != nil {
		return guest.Guest{}, err
	}
	return g, addSession(ctx, b, lib, t.cpython, g.Files[archive])
}

// fetchTrees gets the sources and writes the package's own ones below dir.
func fetchTrees(ctx context.Context, dir string) (trees, error) {
	tarballs, err := unpacked(ctx, cpython, zlib)
	if err != nil {
		return trees{}, err
	}
	sqlite, err := fetch.Module(ctx, sqliteModule, sqliteRelease, sqliteSum)
	if err != nil {
		return trees{}, err
	}
	t := trees{
		own: filepath.Join(dir, "guest"), cpython: filepath.Join(tarballs, cpython.dir),
		zlib: filepath.Join(tarballs, zlib.dir), sqlite: filepath.Join(dir, "sqlite"),
	}
	if err := os.CopyFS(dir, own); err != nil {
		return trees{}, err
	}
	// Under the names that its users include.
	if err := os.MkdirAll(t.sqlite, 0o700); err != nil {
		return trees{}, err
	}
	for from, to := range map[string]string{"sqlite3-binding.c": "sqlite3.c", "sqlite3-binding.h": "sqlite3.h", "sqlite3ext.h": "sqlite3ext.h"} {
		text, err := os.ReadFile(filepath.Join(sqlite, from))
		if err != nil {
			return trees{}, err
		}
		if err := os.WriteFile(filepath.Join(t.sqlite, to), text, 0o600); err != nil {
			return trees{}, err
		}
	}
	return t, nil
}

// sources lists whose work is in the guest.
func (t trees) sources(zones string) []guest.Source {
	in := func(p tarball, licence string) guest.Source {
		return guest.Source{Name: p.name, Version: p.version, SHA256: p.sha256, Licence: p.licence, Texts: []string{licence}}
	}
	part := func(name, licence, file string) guest.Source {
		return guest.Source{Name: name, Version: "as in CPython " + cpython.version, SHA256: cpython.sha256, Licence: licence, Texts: []string{filepath.Join(t.cpython, file)}}
	}
	return []guest.Source{
		in(cpython, filepath.Join(t.cpython, "LICENSE")),
		part("Works that CPython took in", "several", "Doc/license.rst"),
		part("Expat", "MIT", "Modules/expat/COPYING"),
		part("libmpdec", "BSD-2-Clause", "Modules/_decimal/libmpdec/mpdecimal.c"),
		part("HACL*", "MIT", "Modules/_hacl/Hacl_Hash_SHA3.c"),
		part("BLAKE2", "CC0-1.0", "Modules/_blake2/impl/blake2.h"),
		in(zlib, filepath.Join(t.zlib, "LICENSE")),
		{Name: "tzdata", Version: tzdata.Version, SHA256: tzdata.SHA256["any"], Licence: "Apache-2.0", Texts: []string{
			filepath.Join(zones, "tzdata-"+tzdata.Version+".dist-info", "licenses", "LICENSE"),
			filepath.Join(zones, "tzdata-"+tzdata.Version+".dist-info", "licenses", "licenses", "LICENSE_APACHE"),
		}},
		{Name: "SQLite", Version: sqliteVersion + ", in " + sqliteModule + " " + sqliteRelease, SHA256: sqliteSum, Licence: "blessing (public domain)", Texts: []string{filepath.Join(t.sqlite, "sqlite3.h")}},
	}
}

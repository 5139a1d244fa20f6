// Package guest says what the build of one language's guest hands to the maker
// of guests. What it names is linked and complete but neither instrumented nor
// started; only the maker does that.
package guest

import "path/filepath"

// A Guest is a linked reactor and what belongs to it.
type Guest struct {
	Language string
	Wasm     string            // path of the linked module
	Stack    int               // bytes of the stack at the start of its memory; 0 for a guest that has none there
	Files    map[string]string // path in the guest, as lib/python313.zip, to the file
	Sources  []Source
	Features []string
}

// A Source is a piece of somebody's work that is in the guest.
type Source struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	SHA256  string `json:"sha256"`  // or the h1: hash of a Go module
	Licence string `json:"licence"` // SPDX
	// Texts are the files with the licence's text, for the NOTICE file. Of a C
	// file it is the first comment.
	Texts []string `json:"-"`
}

// CLibrary lists what the zig command of that version links into every module
// of C: a C library made of several works, and functions for the compiler.
func CLibrary(zig, version string) []Source {
	dist := filepath.Dir(zig)
	wasi := filepath.Join(dist, "lib", "libc", "wasi")
	part := func(name, licence string, texts ...string) Source {
		return Source{Name: name, Version: "in ziglang " + version, Licence: licence, Texts: texts}
	}
	return []Source{
		part("wasi-libc", "Apache-2.0 WITH LLVM-exception OR Apache-2.0 OR MIT", filepath.Join(wasi, "LICENSE"), filepath.Join(wasi, "LICENSE-MIT")),
		part("musl", "MIT", filepath.Join(wasi, "libc-top-half", "musl", "COPYRIGHT")),
		part("cloudlibc", "BSD-2-Clause", filepath.Join(wasi, "libc-bottom-half", "cloudlibc", "LICENSE")),
		part("zig's C library and compiler-rt", "MIT", filepath.Join(dist, "LICENSE")),
	}
}

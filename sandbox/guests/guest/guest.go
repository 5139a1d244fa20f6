// Package guest says what the build of one language's guest hands to the maker
// of guests. What it names is linked and complete but neither instrumented nor
// started; only the maker does that.
package guest

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
	// File is the licence's text, for the NOTICE file; it may be empty for works in the public domain.
	File string `json:"-"`
}

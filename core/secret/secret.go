// Package secret holds values that must never be seen. A Value is named in the
// configuration by where it is kept, an environment variable or a file, never
// by its text, and whatever prints it prints "***".
package secret

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// Mask stands for every secret in print.
const Mask = "***"

// MaxFile is the largest secret file that is read, in bytes.
const MaxFile = 64 << 10

// Value is a secret. Its zero value is no secret at all. Copies share one
// text, so resolving any of them resolves all.
//
// The text sits inside a func: whoever prints a struct that keeps a Value in
// an unexported field, where fmt cannot call our methods, sees an address.
type Value struct{ src *source }

type source struct {
	env, file string
	hidden    bool // the name may be a secret itself, written in the wrong place

	mu      sync.Mutex
	text    func() string // nil until resolved
	warning string
}

// Env is the secret in the environment variable name.
func Env(name string) Value {
	return Value{&source{env: name, hidden: !isVariable(name) || likeKey(name)}}
}

// File is the secret in the file at path.
func File(path string) Value {
	return Value{&source{file: path, hidden: !strings.ContainsAny(path, `/\\.`) && likeKey(path)}}
}

// Of is a secret that is known already, such as one made a moment ago.
func Of(text string) Value {
	if text == "" {
		return Value{}
	}
	return Value{&source{text: func() string { return text }}}
}

// IsZero reports whether no secret was configured.
func (v Value) IsZero() bool { return v.src == nil }

// Reveal returns the text: the one call that does, so that a search for it
// finds every use. It is "" for the zero Value and for one that cannot be
// read; Resolve tells why.
func (v Value) Reveal() string {
	if v.Resolve() != nil || v.src == nil {
		return ""
	}
	v.src.mu.Lock()
	defer v.src.mu.Unlock()
	return v.src.text()
}

// Equal reports whether text is the secret, in a time that does not depend on
// where they differ. Nothing equals a Value that is zero or cannot be read.
func (v Value) Equal(text string) bool {
	own := v.Reveal()
	a, b := sha256.Sum256([]byte(own)), sha256.Sum256([]byte(text))
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1 && own != ""
}

// Source says where the secret is kept: "env OPENAI_API_KEY",
// "file /run/secrets/key", or "" when neither.
func (v Value) Source() string {
	switch {
	case v.src == nil:
		return ""
	case v.src.env != "":
		return "env " + v.src.env
	case v.src.file != "":
		return "file " + v.src.file
	}
	return ""
}

// Anchor makes a relative file absolute, taken from dir, so that it is found
// whatever the working directory is when it is read again.
func (v Value) Anchor(dir string) {
	if v.src == nil {
		return
	}
	v.src.mu.Lock()
	defer v.src.mu.Unlock()
	if v.src.file != "" && !filepath.IsAbs(v.src.file) {
		v.src.file = filepath.Join(dir, v.src.file)
	}
}

// Resolve reads the secret; see ResolveIn. A relative file is taken from the
// working directory.
func (v Value) Resolve() error { return v.ResolveIn("") }

// ResolveIn reads the secret once; later calls return at once, so a key that
// is rotated takes effect when the configuration is loaded again. A relative
// file is taken from dir. One trailing newline is cut. It is an error when the
// variable is not set, the file cannot be read, or either is empty.
func (v Value) ResolveIn(dir string) error {
	if v.src == nil {
		return nil
	}
	v.src.mu.Lock()
	defer v.src.mu.Unlock()
	if v.src.text != nil {
		return nil
	}
	return v.src.read(dir)
}

// Warning says what is careless about the way the secret is kept, such as a
// file that others can read; "" if nothing, or not resolved yet.
func (v Value) Warning() string {
	if v.src == nil {
		return ""
	}
	v.src.mu.Lock()
	defer v.src.mu.Unlock()
	return v.src.warning
}

func (s *source) read(dir string) error {
	if s.env != "" {
		if !isVariable(s.env) {
			return errVariable
		}
		name := s.env
		if s.hidden {
			name = hiddenName
		}
		text, ok := os.LookupEnv(s.env)
		if !ok {
			return fmt.Errorf("secret: environment variable %s is not set", name)
		}
		return s.set([]byte(text), "environment variable "+name)
	}
	if !s.hidden {
		return s.readFile(dir)
	}
	if s.readFile(dir) != nil {
		return fmt.Errorf("secret: file %s cannot be read", hiddenName)
	}
	s.warning = ""
	return nil
}

func (s *source) readFile(dir string) error {
	path := s.file
	if !filepath.IsAbs(path) {
		path = filepath.Join(dir, path)
	}
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("secret: read file: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("secret: read file: %w", err)
	}
	if info.IsDir() {
		return fmt.Errorf("secret: file %s is a directory", path)
	}
	text, err := io.ReadAll(io.LimitReader(f, MaxFile+1))
	if err != nil {
		return fmt.Errorf("secret: read file: %w", err)
	}
	if len(text) > MaxFile {
		return fmt.Errorf("secret: file %s is larger than %d bytes: it is hardly a secret", path, MaxFile)
	}
	if open := info.Mode().Perm() & 0o044; open != 0 && info.Mode()&fs.ModeType == 0 {
		s.warning = fmt.Sprintf("secret file %s can be read by others (mode %04o); chmod 600 it", path, info.Mode().Perm())
	}
	return s.set(text, "file "+path)
}

func (s *source) set(text []byte, what string) error {
	text = bytes.TrimSuffix(text, []byte("\n"))
	text = bytes.TrimSuffix(text, []byte("\r"))
	if len(text) == 0 {
		return fmt.Errorf("secret: %s is empty", what)
	}
	kept := string(text)
	s.text = func() string { return kept }
	return nil
}

// String returns Mask, or "" for the zero Value.
func (v Value) String() string {
	if v.src == nil {
		return ""
	}
	return Mask
}

// Format prints Mask for every verb.
func (v Value) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, v.String()) }

// LogValue logs Mask.
func (v Value) LogValue() slog.Value { return slog.StringValue(v.String()) }

// MarshalText writes Mask; encoders for JSON, XML and map keys use it.
func (v Value) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// MarshalYAML writes where the secret is kept, which a reader of the
// configuration may know, and never its text.
func (v Value) MarshalYAML() (any, error) {
	switch {
	case v.src == nil:
		return nil, nil
	case v.src.hidden:
		return Mask, nil
	case v.src.env != "":
		return map[string]string{"env": v.src.env}, nil
	case v.src.file != "":
		return map[string]string{"file": v.src.file}, nil
	}
	return Mask, nil
}

// UnmarshalText refuses every text: secrets are not written into files.
func (v *Value) UnmarshalText([]byte) error { return errInline }

var errInline = errors.New("a secret is not written into the configuration: " +
	"use {env: NAME} for an environment variable or {file: PATH} for a file that holds it")

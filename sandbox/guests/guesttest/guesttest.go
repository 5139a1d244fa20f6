// Package guesttest gives tests the guests. A test that needs a guest fails
// without it; it is never skipped.
package guesttest

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sallyport-gateway/sallyport/sandbox/guests"
	"github.com/sallyport-gateway/sallyport/sandbox/guests/fetch"
	"github.com/sallyport-gateway/sallyport/sandbox/internal/engine"
	"github.com/sallyport-gateway/sallyport/sandbox/internal/manifest"
)

// Variable names the directory of guests that were made already, as make test
// has them. Without it they are made in the user's cache, which takes minutes
// the first time.
const Variable = "SALLYPORT_GUESTS"

// Dir returns a directory with the guests; with no names those of all three languages.
func Dir(tb testing.TB, languages ...string) string {
	tb.Helper()
	dir, err := Directory(languages...)
	if err != nil {
		tb.Fatal(err)
	}
	return dir
}

// Directory is Dir for a TestMain.
func Directory(languages ...string) (string, error) {
	if len(languages) == 0 {
		languages = []string{"python", "sql", "shell"}
	}
	dir := os.Getenv(Variable)
	log := new(bytes.Buffer)
	if dir == "" {
		cache, err := fetch.Cache()
		if err != nil {
			return "", err
		}
		dir = filepath.Join(cache, "test-"+strings.Join(languages, "-"))
		if err := guests.Make(context.Background(), dir, log, languages...); err != nil {
			return "", fmt.Errorf("%w\n%s", err, log)
		}
	}
	m, err := manifest.Read(dir)
	if err != nil {
		return "", fmt.Errorf("guests of %s: %w\n%s", dir, err, log)
	}
	have := map[string]bool{}
	for _, g := range m.Guests {
		have[g.Language] = true
	}
	for _, l := range languages {
		if !have[l] {
			return "", fmt.Errorf("the guest %s is not in %s; go run ./sandbox/guests/make -out bin/guests says why\n%s", l, dir, log)
		}
	}
	return dir, nil
}

// Compiled is a directory for the compiled guests of tests, so that not each
// test compiles them again: with the race detector that takes a minute.
func Compiled() (string, error) {
	if dir := os.Getenv(Variable); dir != "" {
		return filepath.Join(dir, guests.CompiledDir), nil // by make
	}
	cache, err := fetch.Cache()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, guests.CompiledDir)
	return dir, os.MkdirAll(dir, 0o700)
}

// Run runs the tests of m with the engine of the guests in e, those of the named
// languages only or of all three, and returns the exit status of TestMain.
func Run(m *testing.M, e **engine.Engine, languages ...string) int {
	dir, err := Directory(languages...)
	cache := ""
	if err == nil {
		cache, err = Compiled()
	}
	ctx := context.Background()
	if err == nil {
		*e, err = engine.Load(ctx, dir, engine.Options{Cache: cache, Only: languages})
	}
	if err != nil {
		os.Stderr.WriteString(err.Error() + "\n")
		return 1
	}
	defer (*e).Close(ctx)
	return m.Run()
}

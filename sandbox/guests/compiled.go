package guests

import (
	"context"
	"os"
	"path/filepath"

	"github.com/sallyport-gateway/sallyport/sandbox/guests/fetch"
	"github.com/sallyport-gateway/sallyport/sandbox/internal/engine"
)

// Compiled is the directory in the user's cache for the machine code of guests
// that tests use. A gateway has one of its own.
func Compiled() (string, error) {
	cache, err := fetch.Cache()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "compiled")
	return dir, os.MkdirAll(dir, 0o700)
}

// Compile compiles the guests in dir into Compiled, unless they are there.
func Compile(ctx context.Context, dir string) error {
	cache, err := Compiled()
	if err != nil {
		return err
	}
	e, err := engine.Load(ctx, dir, engine.Options{Cache: cache})
	if err != nil {
		return err
	}
	return e.Close(ctx)
}

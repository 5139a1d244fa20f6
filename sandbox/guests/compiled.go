package guests

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/sallyport-gateway/sallyport/sandbox/internal/engine"
	"github.com/sallyport-gateway/sallyport/sandbox/internal/manifest"
)

// CompiledDir is the directory, in that of the guests, with their machine code.
// A gateway that finds it there starts programs at once; without it the first
// start compiles for some seconds, and a worker that has compiled keeps the
// memory that took.
const CompiledDir = "compiled"

// Compile puts the machine code of dir's guests into CompiledDir, unless it is
// there and whole, and tells log. What is in it is executed, so nobody else may write
// there; a gateway that runs as another user reads it.
func Compile(ctx context.Context, dir string, log io.Writer) error {
	to := filepath.Join(dir, CompiledDir)
	if manifest.Compiled(dir, to) == nil {
		return nil
	}
	start := time.Now()
	fmt.Fprintln(log, "guests: compiling for this machine")
	part, err := os.MkdirTemp(dir, CompiledDir+".part-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(part)
	e, err := engine.Load(ctx, dir, engine.Options{Cache: part})
	if err != nil {
		return err
	}
	if err := errors.Join(e.Close(ctx), manifest.Mark(dir, part), readable(part), os.RemoveAll(to), os.Rename(part, to)); err != nil {
		return err
	}
	fmt.Fprintf(log, "guests: compiled in %s\n", time.Since(start).Round(time.Second))
	return nil
}

// readable lets everybody read what is in dir.
func readable(dir string) error {
	return filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		mode := fs.FileMode(0o644)
		if e.IsDir() {
			mode = 0o755
		}
		return os.Chmod(path, mode)
	})
}

package guests

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"github.com/sallyport-gateway/sallyport/sandbox/internal/engine"
)

// CompiledDir is the directory, in that of the guests, with their machine code.
// A gateway that finds it there starts programs at once; without it the first
// start compiles for some seconds, and a worker that has compiled keeps the
// memory that took.
const CompiledDir = "compiled"

// Compile puts the machine code of dir's guests into CompiledDir, unless it is
// there. What is in it is executed, so nobody else may read or write there.
func Compile(ctx context.Context, dir string) error {
	manifest, err := os.ReadFile(filepath.Join(dir, engine.ManifestName))
	if err != nil {
		return err
	}
	sum := sha256.Sum256(manifest)
	of := []byte(fmt.Sprintf("%s %s %s\n", hex.EncodeToString(sum[:]), engine.WazeroVersion, runtime.GOARCH))
	to := filepath.Join(dir, CompiledDir)
	mark := filepath.Join(to, "of")
	if have, err := os.ReadFile(mark); err == nil && bytes.Equal(have, of) {
		return nil
	}
	part, err := os.MkdirTemp(dir, CompiledDir+".part-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(part)
	e, err := engine.Load(ctx, dir, engine.Options{Cache: part})
	if err != nil {
		return err
	}
	return errors.Join(e.Close(ctx), os.WriteFile(filepath.Join(part, "of"), of, 0o600), os.RemoveAll(to), os.Rename(part, to))
}

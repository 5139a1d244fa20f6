package python

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
)

// A freezer is the first stage at work: it compiles Python source. It sees no
// file and is used by one goroutine at a time.
type freezer struct {
	run    wazero.Runtime
	module api.Module
	said   bytes.Buffer // on stderr: why source is not Python
}

// newFreezer starts the module in file. Close it.
func newFreezer(ctx context.Context, file string) (*freezer, error) {
	module, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	f := &freezer{run: wazero.NewRuntime(ctx)}
	if err := f.start(ctx, module); err != nil {
		return nil, errors.Join(fmt.Errorf("start the first stage of Python: %w", err), f.close(ctx))
	}
	return f, nil
}

func (f *freezer) start(ctx context.Context, module []byte) error {
	if _, err := wasi_snapshot_preview1.Instantiate(ctx, f.run); err != nil {
		return err
	}
	config := wazero.NewModuleConfig().WithStartFunctions("_initialize").WithStderr(&f.said)
	var err error
	if f.module, err = f.run.InstantiateWithConfig(ctx, module, config); err != nil {
		return err
	}
	if rc, err := f.call(ctx, "freeze_init"); err != nil || rc != 0 {
		return errors.Join(fmt.Errorf("freeze_init returned %d: %s", rc, tail(f.said.Bytes())), err)
	}
	return nil
}

// code compiles source and returns the marshalled code object. name is the
// file that tracebacks will show.
func (f *freezer) code(ctx context.Context, name string, source []byte) ([]byte, error) {
	text := append(append([]byte(name+"\x00"), source...), 0)
	buf, err := f.call(ctx, "freeze_buf", uint64(len(text)))
	if err != nil {
		return nil, err
	}
	if buf == 0 || !f.module.Memory().Write(uint32(buf), text) {
		return nil, fmt.Errorf("compile %s: no memory for the source", name)
	}
	size, err := f.call(ctx, "freeze")
	if err != nil || size < 0 {
		return nil, errors.Join(fmt.Errorf("compile %s: %s", name, tail(f.said.Bytes())), err)
	}
	at, err := f.call(ctx, "freeze_result")
	if err != nil {
		return nil, err
	}
	code, ok := f.module.Memory().Read(uint32(at), uint32(size))
	if !ok {
		return nil, fmt.Errorf("compile %s: the code is outside of the memory", name)
	}
	return append([]byte(nil), code...), nil // Read gives a view of the memory
}

func (f *freezer) call(ctx context.Context, function string, args ...uint64) (int32, error) {
	results, err := f.module.ExportedFunction(function).Call(ctx, args...)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", function, err)
	}
	return int32(uint32(results[0])), nil
}

func (f *freezer) close(ctx context.Context) error { return f.run.Close(ctx) }

package module

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/sallyport-gateway/sallyport/sandbox/internal/wasi"
)

// buildTime is a guest as it runs while its snapshot is made.
type buildTime struct {
	runtime wazero.Runtime
	mod     api.Module
	proc    *wasi.Proc
	ctx     context.Context
}

// start instantiates a module on the same system that sessions have, with its
// start functions switched off; image, if not nil, is its memory.
func start(ctx context.Context, config wazero.RuntimeConfig, wasm []byte, files map[string][]byte, image []byte) (*buildTime, error) {
	tree, err := wasi.NewTree(files)
	if err != nil {
		return nil, err
	}
	fs, err := wasi.NewFS(tree, nil, wasi.Quota{Bytes: 64 << 20, Inodes: 1000, Files: 128})
	if err != nil {
		return nil, err
	}
	config = config.WithMemoryLimitPages(maxPages).WithCustomSections(false)
	b := &buildTime{runtime: wazero.NewRuntimeWithConfig(ctx, config)}
	b.proc = wasi.NewProc(fs, patient{ctx}, 64<<10)
	b.proc.Freeze()
	b.ctx = b.proc.Context(ctx)
	if err := wasi.Instantiate(ctx, b.runtime); err != nil {
		return nil, errors.Join(err, b.runtime.Close(ctx))
	}
	b.mod, err = b.runtime.InstantiateWithConfig(b.ctx, wasm, wazero.NewModuleConfig().WithName("").WithStartFunctions())
	if err != nil {
		return nil, errors.Join(err, b.runtime.Close(ctx))
	}
	if image != nil && !b.mod.Memory().Write(0, image) {
		return nil, errors.Join(errors.New("the image does not fit into the memory"), b.runtime.Close(ctx))
	}
	return b, nil
}

func (b *buildTime) close(ctx context.Context) { _ = b.runtime.Close(ctx) } // memory only

func (b *buildTime) call(name string, args ...uint64) (uint64, error) {
	f := b.mod.ExportedFunction(name)
	if f == nil {
		return 0, fmt.Errorf("the module has no function %s", name)
	}
	out, err := f.Call(b.ctx, args...)
	if err != nil {
		return 0, fmt.Errorf("%s: %w; it printed %q", name, err, b.output())
	}
	if len(out) == 0 {
		return 0, nil
	}
	return out[0], nil
}

func (b *buildTime) output() []byte {
	stdout, _ := b.proc.Stdout.Take()
	stderr, _ := b.proc.Stderr.Take()
	return append(stdout, stderr...)
}

func (b *buildTime) stackPointer() (uint32, bool) {
	g := b.mod.ExportedGlobal("__stack_pointer")
	if g == nil {
		return 0, false
	}
	return uint32(g.Get()), true
}

func (b *buildTime) interruptAddresses() ([]uint32, error) {
	if b.mod.ExportedFunction("sbx_intr_addrs") == nil {
		return nil, nil
	}
	at, err := b.call("sbx_intr_addrs")
	if err != nil {
		return nil, err
	}
	out := make([]uint32, 3)
	for i := range out {
		var ok bool
		if out[i], ok = b.mod.Memory().ReadUint32Le(uint32(at) + uint32(i)*4); !ok {
			return nil, errors.New("sbx_intr_addrs points outside the memory")
		}
		if _, ok := b.mod.Memory().ReadUint32Le(out[i]); !ok {
			return nil, fmt.Errorf("interrupt address %d is outside the memory", out[i])
		}
	}
	return out, nil
}

// patient is the host of a guest at build time: nothing stops it but the
// context, at its next call into the host.
type patient struct{ ctx context.Context }

func (p patient) Enter(int64) {
	if err := p.ctx.Err(); err != nil {
		panic(err)
	}
}
func (p patient) Tick() { p.Enter(0) }
func (p patient) Sleep(d time.Duration) {
	select {
	case <-time.After(d):
	case <-p.ctx.Done():
	}
}
func (p patient) Request([]byte) ([]byte, bool) { return nil, false }

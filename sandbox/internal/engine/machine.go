package engine

import (
	"context"
	"errors"
	"fmt"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"

	"github.com/sallyport-gateway/sallyport/sandbox/internal/module"
)

// machine is a guest's code with a memory and globals of its own. It belongs to
// one instance, or is one of its guest's spares.
type machine struct {
	guest     *Guest
	mod       api.Module
	mem       memory
	fuel      api.MutableGlobal
	state     []kept // all other globals that can change
	buf, exec api.Function
}

// kept is a global and what it holds in the snapshot.
type kept struct {
	global api.MutableGlobal
	value  uint64
}

// newMachine makes a machine whose memory may be bounded to up to reserve bytes.
func (e *Engine) newMachine(g *Guest, reserve uint64) (*machine, error) {
	mem, err := g.image.reserve(reserve)
	if err != nil {
		return nil, err
	}
	ctx := experimental.WithMemoryAllocator(context.Background(), experimental.MemoryAllocatorFunc(func(_, _ uint64) experimental.LinearMemory {
		return mem
	}))
	m := &machine{guest: g, mem: mem}
	// Start functions would undo the snapshot.
	config := wazero.NewModuleConfig().WithName("").WithStartFunctions()
	m.mod, err = e.runtime.InstantiateModule(ctx, g.compiled, config)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start guest %q: %w", g.Language, err), mem.release())
	}
	if b, ok := m.mod.Memory().Read(0, m.mod.Memory().Size()); ok {
		mem.restore(b)
	}
	fuel, ok := m.mod.ExportedGlobal(module.FuelGlobal).(api.MutableGlobal)
	m.fuel = fuel
	m.functions()
	if !ok || m.buf == nil || m.exec == nil {
		return nil, errors.Join(fmt.Errorf("guest %q lacks sbx_buf, sbx_exec or its fuel", g.Language), m.close())
	}
	for n := 0; ; n++ {
		global, ok := m.mod.ExportedGlobal(module.StateGlobal(n)).(api.MutableGlobal)
		if !ok {
			return m, nil
		}
		m.state = append(m.state, kept{global, global.Get()})
	}
}

// functions gives the machine new handles of the functions that are called, each
// of which has a native stack of its own.
func (m *machine) functions() {
	m.buf, m.exec = m.mod.ExportedFunction("sbx_buf"), m.mod.ExportedFunction("sbx_exec")
}

// renew makes the machine what it was when it was made: the kernel drops every
// page that was written to, the globals get their first values, and the native
// stacks go. There is nothing else in it that can change: its table of functions
// cannot, since module.Snapshot refuses the instructions for that, and a memory
// that has grown cannot shrink, which is an error here.
func (m *machine) renew() error {
	if len(m.state) == 0 {
		return errors.New("the guest does not show its globals")
	}
	if uint64(m.mod.Memory().Size()) != m.guest.imageSize() {
		return errors.New("the memory has grown")
	}
	if err := m.mem.renew(); err != nil {
		return err
	}
	for _, k := range m.state {
		k.global.Set(k.value)
	}
	m.functions()
	return nil
}

// close releases the machine, after the last call into it returned.
func (m *machine) close() error {
	return errors.Join(m.mod.Close(context.Background()), m.mem.release())
}

package module

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/tetratelabs/wazero"
)

// pageSize is the unit of WebAssembly memory.
const pageSize = 64 << 10

// maxPages bounds the memory of a guest while its snapshot is made: 1 GiB.
const maxPages = 1 << 14

// Snapped is a guest ready to run: a module that has fuel checks and neither
// data nor start-up, and the memory it continues from.
type Snapped struct {
	Module    []byte
	Image     []byte   // a whole number of pages
	Pages     uint32   // of 64 KiB, in the image
	Stack     uint32   // bytes of shadow stack below the data, zero in the image; 0 when there is none
	Interrupt []uint32 // the addresses of sbx_intr_addrs; nil when the guest has none
}

// Snapshot starts a reactor with the given files, as a session would, and takes
// its memory and globals once sbx_init has returned. Paths are below the guest's
// root, without a leading slash. The error names the step that failed.
func Snapshot(ctx context.Context, wasm []byte, files map[string][]byte) (Snapped, error) {
	m, err := Parse(wasm)
	if err != nil {
		return Snapped{}, err
	}
	if err := m.snappable(); err != nil {
		return Snapped{}, fmt.Errorf("module cannot be a snapshot: %w", err)
	}
	state, err := m.probe(ctx, files)
	if err != nil {
		return Snapped{}, err
	}
	s, err := m.restored(state)
	if err != nil {
		return Snapped{}, err
	}
	if err := s.verify(ctx, files, state); err != nil {
		return Snapped{}, fmt.Errorf("snapshot does not come back: %w", err)
	}
	return s, nil
}

// snappable refuses what a snapshot would lose: tables that change, passive
// data, memories and globals that come from elsewhere.
func (m *Module) snappable() error {
	imports, err := m.Imports()
	if err != nil {
		return err
	}
	for _, im := range imports {
		if im.Kind != kindFunc {
			return fmt.Errorf("import %s.%s is not a function", im.Module, im.Name)
		}
	}
	r := &reader{b: m.body(secMemory)}
	if n := r.count(); n != 1 {
		return fmt.Errorf("%d memories, not one", n)
	}
	r = &reader{b: m.body(secCode)}
	for i := r.count(); i > 0 && r.err == nil; i-- {
		body := &reader{b: r.take(r.u32())}
		for g := body.count(); g > 0 && body.err == nil; g-- {
			body.u32()
			body.byte()
		}
		for body.more() {
			in := body.instruction()
			if name := in.losesState(); name != "" {
				return fmt.Errorf("the code uses %s", name)
			}
		}
		if body.err != nil {
			return fmt.Errorf("code section: %w", body.err)
		}
	}
	return r.end("code section")
}

// losesState names an instruction whose effect is neither in the memory nor in
// a global, or that needs data that the snapshot drops.
func (in instruction) losesState() string {
	if in.op == opTableSet {
		return "table.set"
	}
	if in.op != opPrefix {
		return ""
	}
	return map[uint32]string{
		subMemoryInit: "memory.init", subDataDrop: "data.drop", subTableInit: "table.init", subElemDrop: "elem.drop",
		subTableCopy: "table.copy", subTableGrow: "table.grow", subTableFill: "table.fill",
	}[in.sub]
}

// state is what a guest is after its start.
type state struct {
	memory    []byte
	globals   map[int]uint64 // values of the mutable ones, by index
	interrupt []uint32
	stackAt   uint32
	hasStack  bool
}

// StateGlobal is the name of the n-th export of a snapshot's mutable globals,
// from 0: all but FuelGlobal. With them and the memory the snapshot can be
// brought back.
func StateGlobal(n int) string { return fmt.Sprintf("sbx_g%d", n) }

// probe starts the module once, uninstrumented, with every mutable global
// exported.
func (m *Module) probe(ctx context.Context, files map[string][]byte) (state, error) {
	p := m.clone()
	p.drop(secCustom)
	gs, err := p.globals()
	if err != nil {
		return state{}, err
	}
	var add []Export
	for i, g := range gs {
		if g.mutable {
			if g.typ < 0x7c || g.typ > 0x7f {
				return state{}, fmt.Errorf("global %d is mutable and of the type %#x", i, g.typ)
			}
			add = append(add, Export{StateGlobal(len(add)), kindGlobal, uint32(i)})
		}
	}
	if err := p.addExports(add); err != nil {
		return state{}, err
	}
	inst, err := start(ctx, wazero.NewRuntimeConfig(), p.Bytes(), files, nil)
	if err != nil {
		return state{}, fmt.Errorf("start the module: %w", err)
	}
	defer inst.close(ctx)

	st := state{globals: map[int]uint64{}}
	before, hasStack := inst.stackPointer()
	if inst.mod.ExportedFunction("_initialize") != nil {
		if _, err := inst.call("_initialize"); err != nil {
			return state{}, err
		}
	}
	if got, err := inst.call("sbx_init"); err != nil {
		return state{}, err
	} else if int32(got) != 0 {
		return state{}, fmt.Errorf("sbx_init returned %d: %s", int32(got), inst.output())
	}
	if out := inst.output(); len(out) > 0 {
		return state{}, fmt.Errorf("the start printed %q", out)
	}
	if after, _ := inst.stackPointer(); hasStack && after != before {
		return state{}, fmt.Errorf("the stack pointer is %d after the start, %d before", after, before)
	}
	if st.interrupt, err = inst.interruptAddresses(); err != nil {
		return state{}, err
	}
	if inst.proc.OpenFiles() > 0 {
		return state{}, errors.New("the start left a file open, which a session would not have")
	}
	for n, a := range add {
		st.globals[int(a.Index)] = inst.mod.ExportedGlobal(StateGlobal(n)).Get()
	}
	b, _ := inst.mod.Memory().Read(0, inst.mod.Memory().Size())
	st.memory = bytes.Clone(b)
	st.stackAt, st.hasStack = before, hasStack
	return st, nil
}

// restored writes the state into a copy of the module.
func (m *Module) restored(st state) (Snapped, error) {
	s := Snapped{Image: st.memory, Pages: uint32(len(st.memory) / pageSize), Interrupt: st.interrupt}
	if st.hasStack {
		if uint64(st.stackAt) > uint64(len(st.memory)) {
			return Snapped{}, fmt.Errorf("the stack pointer %d is outside the memory", st.stackAt)
		}
		// The stack comes first and nothing is on it: what is there is dead.
		if first, err := m.dataStart(); err != nil {
			return Snapped{}, err
		} else if st.stackAt <= first {
			s.Stack = st.stackAt
			clear(s.Image[:s.Stack])
		}
	}
	out := m.clone()
	out.drop(secCustom, secStart, secData, secDataCount)
	gs, err := out.globals()
	if err != nil {
		return Snapped{}, err
	}
	for i, v := range st.globals {
		switch gs[i].typ {
		case 0x7f:
			gs[i].init = constant(0x41, int64(int32(uint32(v))))
		case 0x7e:
			gs[i].init = constant(0x42, int64(v))
		case 0x7d:
			gs[i].init = append(binary.LittleEndian.AppendUint32([]byte{0x43}, uint32(v)), opEnd)
		case 0x7c:
			gs[i].init = append(binary.LittleEndian.AppendUint64([]byte{0x44}, v), opEnd)
		}
	}
	if len(gs) > 0 {
		out.setGlobals(gs)
	}
	var state []Export
	for i, g := range gs {
		if g.mutable {
			state = append(state, Export{StateGlobal(len(state)), kindGlobal, uint32(i)})
		}
	}
	if err := out.addExports(state); err != nil {
		return Snapped{}, err
	}
	out.set(secMemory, appendU32([]byte{1, 0}, s.Pages))
	if err := out.fuel(); err != nil {
		return Snapped{}, fmt.Errorf("fuel: %w", err)
	}
	s.Module = out.Bytes()
	return s, nil
}

// dataStart is the lowest address that a data segment writes, the largest
// number when that cannot be told.
func (m *Module) dataStart() (uint32, error) {
	r := &reader{b: m.body(secData)}
	if len(r.b) == 0 {
		return 0, nil
	}
	first := ^uint32(0)
	for n := r.count(); n > 0 && r.err == nil; n-- {
		switch flag := r.u32(); flag {
		case 0:
		case 1: // passive: nobody can use it without memory.init
			r.take(r.u32())
			continue
		default:
			return 0, fmt.Errorf("data segment of the kind %d", flag)
		}
		from := r.off
		address, end := r.instruction(), r.instruction()
		if address.op != 0x41 || end.op != opEnd {
			return 0, errors.New("data segment whose address is not a constant")
		}
		if r.err == nil {
			first = min(first, uint32(global{init: r.b[from:r.off]}.value()))
		}
		r.take(r.u32())
	}
	return first, r.end("data section")
}

// verify starts the snapshot and compares it with the state it was made from.
func (s Snapped) verify(ctx context.Context, files map[string][]byte, st state) error {
	// The interpreter: it checks a module as the compiler does, in less time.
	inst, err := start(ctx, wazero.NewRuntimeConfigInterpreter(), s.Module, files, s.Image)
	if err != nil {
		return err
	}
	defer inst.close(ctx)
	if got := inst.mod.Memory().Size(); uint64(got) != uint64(len(s.Image)) {
		return fmt.Errorf("the memory has %d bytes, not %d", got, len(s.Image))
	}
	if after, ok := inst.stackPointer(); ok && st.hasStack && after != st.stackAt {
		return fmt.Errorf("the stack pointer is %d, not %d", after, st.stackAt)
	}
	m, err := Parse(s.Module)
	if err != nil {
		return err
	}
	gs, err := m.globals()
	if err != nil {
		return err
	}
	for i, v := range st.globals {
		if got := gs[i].value(); got != v {
			return fmt.Errorf("global %d is %#x, not %#x", i, got, v)
		}
	}
	at, err := inst.call("sbx_buf", 16)
	if err != nil {
		return err
	}
	if at == 0 || at+16 > uint64(inst.mod.Memory().Size()) {
		return fmt.Errorf("sbx_buf(16) returned %d", at)
	}
	addresses, err := inst.interruptAddresses()
	if err != nil {
		return err
	}
	if !slices.Equal(addresses, s.Interrupt) {
		return fmt.Errorf("the interrupt addresses are %d, not %d", addresses, s.Interrupt)
	}
	return nil
}

// value is the constant that a global starts with, as api.Global shows it.
func (g global) value() uint64 {
	b := g.init[1 : len(g.init)-1]
	switch g.init[0] {
	case 0x43:
		return uint64(binary.LittleEndian.Uint32(b))
	case 0x44:
		return binary.LittleEndian.Uint64(b)
	}
	var v uint64
	shift := 0
	for _, c := range b {
		v |= uint64(c&0x7f) << shift
		shift += 7
	}
	if shift < 64 && len(b) > 0 && b[len(b)-1]&0x40 != 0 {
		v |= ^uint64(0) << shift
	}
	if g.init[0] == 0x41 {
		v = uint64(uint32(v))
	}
	return v
}

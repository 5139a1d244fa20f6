package module

import (
	"errors"
	"fmt"
)

// Names of the door between an instrumented guest and its host.
const (
	TickModule = "sbx"      // module of the tick import
	TickName   = "tick"     // called when the fuel is used up
	FuelGlobal = "sbx_fuel" // exported mutable i32: fuel left; below 1 the next check calls tick
)

// InitialFuel is what a new instance may use before its first tick.
const InitialFuel = 1000

// bulkShift says what memory.copy and memory.fill cost: one unit for each
// 2^bulkShift bytes, about the time of a loop head.
const bulkShift = 7

// Fuel adds the checks that make the module stoppable. Every loop head, and
// every entry of a function that calls others, takes one unit from the global
// FuelGlobal and calls the imported tick function when none is left; copying
// and filling memory takes a unit for each 128 bytes. As tail calls are
// refused, no execution can go on for ever without a tick. Custom sections are
// dropped since their offsets are wrong afterwards.
func Fuel(wasm []byte) ([]byte, error) {
	m, err := Parse(wasm)
	if err != nil {
		return nil, err
	}
	if err := m.fuel(); err != nil {
		return nil, fmt.Errorf("fuel: %w", err)
	}
	return m.Bytes(), nil
}

func (m *Module) fuel() error {
	m.drop(secCustom)
	imports, err := m.Imports()
	if err != nil {
		return err
	}
	tick := -1
	imported := uint32(0)
	for _, im := range imports {
		switch im.Kind {
		case kindFunc:
			if im.Module == TickModule && im.Name == TickName {
				tick = int(imported)
			}
			imported++
		case kindGlobal:
			return fmt.Errorf("global %s.%s is imported", im.Module, im.Name)
		}
	}
	if tick < 0 {
		return fmt.Errorf("%s.%s is not imported", TickModule, TickName)
	}
	gs, err := m.globals()
	if err != nil {
		return err
	}
	if len(gs) == 0 {
		return errors.New("the module has no global section")
	}
	if m.body(secExport) == nil {
		return errors.New("the module has no export section")
	}
	fuel := uint32(len(gs))
	gs = append(gs, global{typ: 0x7f, mutable: true, init: constant(0x41, InitialFuel)})
	m.setGlobals(gs)
	if err := m.addExports([]Export{{FuelGlobal, kindGlobal, fuel}}); err != nil {
		return err
	}
	return m.rewriteBodies(meter{fuel: fuel, tick: uint32(tick)})
}

// constant is the constant expression of an i32 (op 0x41) or i64 (0x42).
func constant(op byte, v int64) []byte {
	return append(appendS64([]byte{op}, v), opEnd)
}

// rewriteBodies puts the meter's checks into every function.
func (m *Module) rewriteBodies(mt meter) error {
	params, funcs, err := m.funcParams()
	if err != nil {
		return err
	}
	r := &reader{b: m.body(secCode)}
	n := r.count()
	if r.err == nil && int(n) != len(funcs) {
		return fmt.Errorf("%d functions have %d bodies", len(funcs), n)
	}
	out := appendU32(make([]byte, 0, len(r.b)+len(r.b)/8), n)
	var scratch []byte
	for i := range funcs {
		body := r.take(r.u32())
		if r.err != nil {
			break
		}
		scratch, err = mt.body(scratch[:0], body, params[funcs[i]])
		if err != nil {
			return fmt.Errorf("function body %d: %w", i, err)
		}
		out = appendU32(out, uint32(len(scratch)))
		out = append(out, scratch...)
	}
	if err := r.end("code section"); err != nil {
		return err
	}
	m.set(secCode, out)
	return nil
}

// meter writes the checks.
type meter struct {
	fuel, tick uint32 // indices of the global and of the function
}

// body appends one function body, rewritten, to out. A new local at the end of
// the list holds intermediate values, so no index moves.
func (mt meter) body(out, body []byte, params uint32) ([]byte, error) {
	r := &reader{b: body}
	groups := r.count()
	locals := uint64(params)
	start := r.off
	for n := groups; n > 0 && r.err == nil; n-- {
		locals += uint64(r.u32())
		r.byte() // type
	}
	if locals > 50_000 {
		return nil, fmt.Errorf("%d locals", locals)
	}
	if r.err != nil {
		return nil, r.err
	}
	local := uint32(locals)
	out = appendU32(out, groups+1)
	out = append(out, body[start:r.off]...)
	out = append(out, 1, 0x7f)

	code := r.off
	if calls(body[code:]) {
		out = mt.check(out, local)
	}
	for depth := 1; r.more(); {
		in := r.instruction()
		if r.err != nil {
			return nil, fmt.Errorf("byte %d: %w", in.start, r.err)
		}
		if in.op == opPrefix && (in.sub == subMemoryCopy || in.sub == subMemoryFill) {
			out = mt.charge(out, local)
		}
		out = append(out, body[in.start:r.off]...)
		switch in.op {
		case opLoop:
			depth++
			out = mt.check(out, local)
		case opBlock, opIf:
			depth++
		case opEnd:
			if depth--; depth == 0 && r.more() {
				return nil, errors.New("code after the function's end")
			}
		}
		if !r.more() && depth != 0 {
			return nil, errors.New("the function does not end")
		}
	}
	if len(body) == code {
		return nil, errors.New("the function has no code")
	}
	return out, nil
}

// calls says whether code contains a call; broken code is found later.
func calls(code []byte) bool {
	r := &reader{b: code}
	for r.more() {
		if in := r.instruction(); in.op == opCall || in.op == opCallInd {
			return true
		}
	}
	return false
}

// check: fuel--; if fuel < 1 { tick() }. It leaves the stack as it was, and
// its block is closed before any branch, so no label moves.
func (mt meter) check(out []byte, local uint32) []byte {
	out = appendU32(append(out, opGlobalGet), mt.fuel)
	out = append(out, 0x41, 1, 0x6b)            // i32.const 1, i32.sub
	out = appendU32(append(out, 0x22), local)   // local.tee
	out = appendU32(append(out, 0x24), mt.fuel) // global.set
	out = appendU32(append(out, 0x20), local)   // local.get
	out = append(out, 0x41, 1, 0x48)            // i32.const 1, i32.lt_s
	out = append(out, opIf, 0x40)
	out = appendU32(append(out, opCall), mt.tick)
	return append(out, opEnd)
}

// charge: fuel -= n >> bulkShift, where n is on top of the stack and stays.
// 2^32 bytes cost 2^25 units, so the global cannot pass its smallest number
// before the next check.
func (mt meter) charge(out []byte, local uint32) []byte {
	out = appendU32(append(out, 0x22), local) // local.tee
	out = appendU32(append(out, opGlobalGet), mt.fuel)
	out = appendU32(append(out, 0x20), local)
	out = append(out, 0x41, bulkShift, 0x76, 0x6b) // i32.shr_u, i32.sub
	return appendU32(append(out, 0x24), mt.fuel)
}

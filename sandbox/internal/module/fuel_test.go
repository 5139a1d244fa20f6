package module

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/sallyport-gateway/sallyport/sandbox/internal/toy"
)

var configs = map[string]wazero.RuntimeConfig{
	"compiled":    wazero.NewRuntimeConfig(),
	"interpreted": wazero.NewRuntimeConfigInterpreter(),
}

// ran is what a test function did.
type ran struct {
	value uint64
	used  int // units of fuel
	ticks int
	err   error
}

// runFuelled calls the function "f" of an instrumented module with x; each tick
// refills 100 units, and the thousandth ends the call.
func runFuelled(t *testing.T, config wazero.RuntimeConfig, wasm []byte, x uint64) ran {
	t.Helper()
	ctx := context.Background()
	r := wazero.NewRuntimeWithConfig(ctx, config)
	defer r.Close(ctx)
	var got ran
	const refill = 100
	b := r.NewHostModuleBuilder(TickModule)
	b.NewFunctionBuilder().WithGoModuleFunction(api.GoModuleFunc(func(_ context.Context, mod api.Module, _ []uint64) {
		g := mod.ExportedGlobal(FuelGlobal).(api.MutableGlobal)
		got.used += refill - int(int32(g.Get()))
		if got.ticks++; got.ticks == 1000 {
			panic("a thousand ticks")
		}
		g.Set(refill)
	}), nil, nil).Export(TickName)
	if _, err := b.Instantiate(ctx); err != nil {
		t.Fatal(err)
	}
	mod, err := r.Instantiate(ctx, wasm)
	if err != nil {
		t.Fatalf("the rewritten module does not validate: %v", err)
	}
	g := mod.ExportedGlobal(FuelGlobal).(api.MutableGlobal)
	if got := g.Get(); got != InitialFuel {
		t.Errorf("it starts with %d units", got)
	}
	g.Set(refill)
	f := mod.ExportedFunction("f")
	var args []uint64
	if len(f.Definition().ParamTypes()) == 1 {
		args = []uint64{x}
	}
	out, err := f.Call(ctx, args...)
	got.err = err
	if len(out) > 0 {
		got.value = out[0]
	}
	got.used += refill - int(int32(g.Get()))
	return got
}

func TestFuelOfEachKindOfInstruction(t *testing.T) {
	const (
		get, set, tee  = 0x20, 0x21, 0x22
		i32c, add, sub = 0x41, 0x6a, 0x6b
		brIf, br       = 0x0d, 0x0c
		drop           = 0x1a
	)
	one := []byte{1, 1, 0x7f} // one local i32
	countdown := []byte{opLoop, 0x40, get, 0, i32c, 1, sub, tee, 0, brIf, 0, opEnd}
	body := func(parts ...[]byte) []byte { return append(cat(parts...), opEnd) }
	none := []byte{0}
	fd := func(sub byte, rest ...byte) []byte { return append([]byte{0xfd, sub}, rest...) }
	v128 := append(fd(12), make([]byte, 16)...)
	for _, tt := range []struct {
		name  string
		typ   byte
		code  []byte
		other []testFunc
		x     uint64
		value uint64
		used  int
	}{
		{name: "nothing", typ: typeI32, code: body(none, []byte{get, 0}), x: 5, value: 5},
		{name: "loop", typ: typeI32, code: body(none, countdown, []byte{get, 0}), x: 50, value: 0, used: 50},
		{name: "loop across ticks", typ: typeI32, code: body(none, countdown, []byte{get, 0}), x: 5000, value: 0, used: 5000},
		{name: "loop with a parameter and a result", typ: typeI32, code: body(none, []byte{get, 0, opLoop, typeI32, i32c, 1, add, tee, 0, get, 0, i32c, 30, 0x48, brIf, 0, opEnd}), x: 20, value: 30, used: 10},
		{name: "nested loops", typ: typeI32, code: body(one,
			[]byte{opLoop, 0x40, i32c, 3, set, 1, opLoop, 0x40, get, 1, i32c, 1, sub, tee, 1, brIf, 0, opEnd, get, 0, i32c, 1, sub, tee, 0, brIf, 0, opEnd, get, 1}), x: 10, value: 0, used: 40},
		{name: "block, if, else, br_table, return", typ: typeI32, code: body(none,
			[]byte{opBlock, 0x40, opBlock, 0x40, get, 0, 0x0e, 1, 0, 1, opEnd, i32c, 10, 0x0f, opEnd, get, 0, opIf, 0x7f, i32c, 11, 0x05, i32c, 12, opEnd}), x: 1, value: 11},
		{name: "unreachable code, nop, select, drop", typ: typeI32, code: body(none,
			[]byte{0x01, get, 0, i32c, 2, get, 0, 0x1b, i32c, 3, i32c, 4, get, 0, 0x1c, 1, 0x7f, add, i32c, 9, drop, 0x0f, 0x00}), x: 1, value: 4},
		{name: "call", typ: typeI32, code: body(none, []byte{get, 0, opCall, 2}), x: 6, value: 7, used: 1,
			other: []testFunc{{"g", typeI32, body(none, []byte{get, 0, i32c, 1, add})}}},
		{name: "call_indirect", typ: typeI32, code: body(none, []byte{get, 0, opIf, 0x7f, i32c, 0, i32c, 0, opCallInd, typeI32, 0, 0x05, i32c, 33, opEnd}), x: 1, value: 33, used: 2},
		{name: "recursion", typ: typeI32, code: body(none, []byte{get, 0, opIf, 0x7f, get, 0, i32c, 1, sub, opCall, 1, i32c, 1, add, 0x05, i32c, 0, opEnd}), x: 40, value: 40, used: 41},
		{name: "memory.copy", typ: typeI32, code: body(none, []byte{i32c, 0, i32c, 0, get, 0, opPrefix, subMemoryCopy, 0, 0, get, 0}), x: 1280, value: 1280, used: 10},
		{name: "memory.fill", typ: typeI32, code: body(none, []byte{i32c, 0, i32c, 7, get, 0, opPrefix, subMemoryFill, 0, i32c, 0, 0x28, 2, 0}), x: 12800, value: 0x07070707, used: 100},
		{name: "loads and stores", typ: typeI32, code: body(none, []byte{i32c, 8, get, 0, 0x36, 2, 0x80, 0x01, i32c, 8, 0x28, 2, 0x80, 0x01, i32c, 8, 0x42, 1, 0x37, 3, 0, 0x3f, 0, drop, i32c, 0, 0x40, 0, drop}), x: 77, value: 77},
		{name: "numbers", typ: typeI32, code: body(none, []byte{0x42, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00, 0x50, 0x43, 0, 0, 0x80, 0x3f, 0xa8, add, 0x44, 0, 0, 0, 0, 0, 0, 0, 0x40, opPrefix, 2, add, get, 0, add, 0xc0}), x: 1, value: 4},
		{name: "globals and references", typ: typeI32, code: body(none, []byte{get, 0, 0x24, 0, 0xd0, 0x70, 0xd1, 0xd2, 1, drop, 0x23, 0, add, i32c, 0, 0x25, 0, drop, opPrefix, subTableSize, 0, add}), x: 5, value: 7},
		{name: "vectors", typ: typeI32, code: body(none, i32s(0), v128, fd(11, 4, 0), i32s(0), fd(0, 4, 0), v128, fd(13, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15), fd(27, 3), i32s(0), v128, fd(88, 0, 0, 15), i32s(0), fd(92, 2, 0), v128, fd(0xae, 0x01), []byte{drop, get, 0, add}), x: 9, value: 9},
	} {
		for engine, config := range configs {
			t.Run(tt.name+", "+engine, func(t *testing.T) {
				m := testModule{imports: []string{TickName}, tables: true,
					funcs: append([]testFunc{{"f", tt.typ, tt.code}}, tt.other...)}
				out, err := Fuel(m.bytes())
				if err != nil {
					t.Fatal(err)
				}
				got := runFuelled(t, config, out, tt.x)
				if got.err != nil || got.value != tt.value || got.used != tt.used {
					t.Errorf("value %d, %d units, error %v; want %d, %d", got.value, got.used, got.err, tt.value, tt.used)
				}
			})
		}
	}
}

func i32s(v int64) []byte { return appendS64([]byte{0x41}, v) }

func TestEveryEndlessShapeTicks(t *testing.T) {
	none := []byte{0}
	for name, code := range map[string][]byte{
		"empty loop":     {opLoop, 0x40, 0x0c, 0, opEnd, opEnd},
		"mutual calls":   {opCall, 2, opEnd},
		"indirect calls": {0x41, 0, opCallInd, typeVoid, 0, opEnd},
		"copies":         {opLoop, 0x40, 0x41, 0, 0x41, 0, 0x41, 0x80, 0x80, 0x04, opPrefix, subMemoryCopy, 0, 0, 0x0c, 0, opEnd, opEnd},
	} {
		m := testModule{imports: []string{TickName}, tables: true, funcs: []testFunc{
			{"f", typeVoid, cat(none, code)},
			{"g", typeVoid, cat(none, []byte{opCall, 1, opEnd})},
		}}
		out, err := Fuel(m.bytes())
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got := runFuelled(t, wazero.NewRuntimeConfig(), out, 0)
		if got.err == nil || !strings.Contains(got.err.Error(), "a thousand ticks") {
			t.Errorf("%s: %d ticks, then %v", name, got.ticks, got.err)
		}
	}
}

func TestFuelRefuses(t *testing.T) {
	f := func(code ...byte) []testFunc { return []testFunc{{"f", typeVoid, append([]byte{0}, code...)}} }
	tick := []string{TickName}
	for _, tt := range []struct {
		name string
		wasm []byte
		want string
	}{
		{"no module", []byte("hello"), "not a WebAssembly module"},
		{"no tick", testModule{funcs: f(opEnd)}.bytes(), "sbx.tick is not imported"},
		{"name taken", testModule{imports: tick, funcs: f(opEnd), exports: []Export{{FuelGlobal, kindMemory, 0}}}.bytes(), "already exports"},
		{"tail call", testModule{imports: tick, funcs: f(0x12, 0, opEnd)}.bytes(), "instruction 0x12 is unknown"},
		{"threads", testModule{imports: tick, funcs: f(0xfe, 3, 0, opEnd)}.bytes(), "instruction 0xfe is unknown"},
		{"exceptions", testModule{imports: tick, funcs: f(0x1f, 0x40, 0, opEnd, opEnd)}.bytes(), "instruction 0x1f is unknown"},
		{"throw", testModule{imports: tick, funcs: f(0x08, 0, opEnd)}.bytes(), "instruction 0x8 is unknown"},
		{"old exceptions", testModule{imports: tick, funcs: f(0x06, 0x40, opEnd, opEnd)}.bytes(), "instruction 0x6 is unknown"},
		{"garbage collection", testModule{imports: tick, funcs: f(0xfb, 0, opEnd)}.bytes(), "instruction 0xfb is unknown"},
		{"relaxed vectors", testModule{imports: tick, funcs: f(0xfd, 0x80, 0x02, opEnd)}.bytes(), "vector instruction 0x100 is unknown"},
		{"unknown prefix", testModule{imports: tick, funcs: f(0xfc, 18, opEnd)}.bytes(), "0xfc 18 is unknown"},
		{"several memories", testModule{imports: tick, funcs: f(0x41, 0, 0x28, 0x42, 0, 0, 0x1a, opEnd)}.bytes(), "several memories"},
		{"code without end", testModule{imports: tick, funcs: f(0x01)}.bytes(), "does not end"},
		{"code after the end", testModule{imports: tick, funcs: f(opEnd, 0x01)}.bytes(), "after the function's end"},
		{"no code", testModule{imports: tick, funcs: f()}.bytes(), "no code"},
		{"cut", testModule{imports: tick, funcs: f(opEnd)}.bytes()[:60], "ends too early"},
		{"section twice", testModule{imports: tick, funcs: f(opEnd), raw: []section{{secType, []byte{0}}}}.bytes(), "appears twice"},
		{"unknown section", testModule{imports: tick, funcs: f(opEnd), raw: []section{{99, nil}}}.bytes(), "section number 99"},
	} {
		if _, err := Fuel(tt.wasm); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want one with %q", tt.name, err, tt.want)
		}
	}
}

func TestParseKeepsEveryByte(t *testing.T) {
	wasm := toy.Wasm(t)
	m, err := Parse(wasm)
	if err != nil {
		t.Fatal(err)
	}
	again, err := Parse(m.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range m.sections {
		if again.sections[i].id != s.id || !bytes.Equal(again.sections[i].body, s.body) {
			t.Errorf("section %d changed", i)
		}
	}
}

func TestNumbers(t *testing.T) {
	for _, v := range []int64{0, 1, -1, 63, 64, -64, -65, 127, 128, 1<<31 - 1, -1 << 31, 1<<63 - 1, -1 << 63} {
		g := global{init: constant(0x42, v)}
		if got := int64(g.value()); got != v {
			t.Errorf("i64 %d comes back as %d", v, got)
		}
		if w := int64(int32(v)); w == v {
			g = global{init: constant(0x41, v)}
			if got := int64(int32(uint32(g.value()))); got != v {
				t.Errorf("i32 %d comes back as %d", v, got)
			}
		}
	}
	for _, tt := range []struct {
		in   []byte
		want uint32
		ok   bool
	}{
		{[]byte{0}, 0, true}, {[]byte{0x80, 1}, 128, true}, {[]byte{0xff, 0xff, 0xff, 0xff, 0x0f}, 1<<32 - 1, true},
		{[]byte{0xff, 0xff, 0xff, 0xff, 0x1f}, 0, false}, {[]byte{0x80, 0x80, 0x80, 0x80, 0x80, 0}, 0, false}, {[]byte{0x80}, 0, false},
	} {
		r := &reader{b: tt.in}
		if got := r.u32(); got != tt.want || (r.err == nil) != tt.ok {
			t.Errorf("%x: %d, %v", tt.in, got, r.err)
		}
	}
}

// FuzzFuel: whatever comes in, Fuel returns; and what wazero accepted before,
// it accepts afterwards.
func FuzzFuel(f *testing.F) {
	none := []byte{0}
	for _, code := range [][]byte{
		{opEnd}, {opLoop, 0x40, opEnd, opEnd}, {0x41, 0, 0x41, 0, 0x41, 0, opPrefix, subMemoryCopy, 0, 0, opEnd},
		{0x41, 0, 0x0e, 0, 0, opEnd}, {opCall, 1, opEnd},
	} {
		f.Add(testModule{imports: []string{TickName}, tables: true, funcs: []testFunc{{"f", typeVoid, cat(none, code)}}}.bytes())
	}
	f.Fuzz(func(t *testing.T, wasm []byte) {
		out, err := Fuel(wasm)
		if m, err := Parse(wasm); err == nil {
			m.snappable()
			m.dataStart()
			m.restored(state{memory: make([]byte, pageSize)})
		}
		if err != nil {
			return
		}
		ctx := context.Background()
		config := wazero.NewRuntimeConfigInterpreter().WithMemoryLimitPages(64)
		r := wazero.NewRuntimeWithConfig(ctx, config)
		defer r.Close(ctx)
		if _, err := r.CompileModule(ctx, wasm); err != nil {
			return
		}
		if _, err := r.CompileModule(ctx, out); err != nil {
			t.Errorf("a valid module does not validate after rewriting: %v\n%x", err, wasm)
		}
	})
}

func ExampleFuel() {
	_, err := Fuel([]byte("\x00asm\x01\x00\x00\x00"))
	fmt.Println(err)
	// Output: fuel: sbx.tick is not imported
}

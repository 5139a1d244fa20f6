package module

import (
	"context"
	"encoding/binary"
	"slices"
	"strings"
	"testing"
)

// reactor is a small C-like guest: a stack of 1024 bytes, then data. sbx_init
// runs the given code and returns 0.
func reactor(init ...byte) testModule {
	return testModule{
		imports: []string{TickName},
		memory:  []byte{1, 0, 2},
		nGlobal: 2,
		globals: []byte{
			0x7f, 1, 0x41, 0x80, 0x08, opEnd, // __stack_pointer = 1024
			0x7e, 1, 0x42, 5, opEnd, // an i64
		},
		data: cat([]byte{1, 0, 0x41, 0x80, 0x08, opEnd}, str("data")),
		funcs: []testFunc{
			{"sbx_init", typeConst, append(append([]byte{0}, init...), 0x41, 0, opEnd)},
			{"sbx_buf", typeI32, []byte{0, 0x41, 0x80, 0x10, opEnd}}, // 2048
			{"sbx_exec", typeI32, []byte{0, 0x23, 1, 0xa7, opEnd}},   // the i64
		},
		exports: []Export{{"__stack_pointer", kindGlobal, 0}},
	}
}

func TestSnapshotIsTheStateAfterTheStart(t *testing.T) {
	s, err := Snapshot(context.Background(), reactor(
		0x42, 0x80, 0x80, 0x04, 0x24, 1, // i64 = 65536
		0x41, 8, 0x41, 1, 0x36, 2, 0, // stack[8] = 1
		0x41, 0x80, 0x10, 0x41, 42, 0x36, 2, 0, // memory[2048] = 42
		0x41, 1, 0x40, 0, 0x1a, // memory.grow(1)
	).bytes(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if s.Pages != 3 || len(s.Image) != 3*pageSize || s.Stack != 1024 || s.Interrupt != nil {
		t.Errorf("pages %d, image %d, stack %d, interrupt %v", s.Pages, len(s.Image), s.Stack, s.Interrupt)
	}
	if binary.LittleEndian.Uint32(s.Image[8:]) != 0 {
		t.Error("the dead stack is not zero")
	}
	if string(s.Image[1024:1028]) != "data" || s.Image[2048] != 42 {
		t.Error("the image lacks data or what the start wrote")
	}
	m, err := Parse(s.Module)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []byte{secData, secDataCount, secStart, secCustom} {
		if m.body(id) != nil {
			t.Errorf("section %d is still there", id)
		}
	}
	gs, err := m.globals()
	if err != nil || gs[1].value() != 65536 {
		t.Errorf("the i64 is %d, %v", gs[1].value(), err)
	}
	exports, err := m.Exports()
	if err != nil {
		t.Fatal(err)
	}
	for n := range gs[:2] { // all that can change, but for the fuel
		if want := (Export{StateGlobal(n), kindGlobal, uint32(n)}); !slices.Contains(exports, want) {
			t.Errorf("no export %v among %v", want, exports)
		}
	}
}

func TestSnapshotRefuses(t *testing.T) {
	raw := reactor()
	raw.memory = []byte{0}
	twice := reactor()
	twice.exports = append(twice.exports, Export{"sbx_g0", kindGlobal, 0})
	noInit := reactor()
	noInit.funcs = noInit.funcs[1:]
	noBuf := reactor()
	noBuf.funcs[1].code = []byte{0, 0x41, 0, opEnd}
	failed := reactor()
	failed.funcs[0].code = []byte{0, 0x41, 0x7d, opEnd}
	vector := reactor()
	vector.nGlobal, vector.globals = 3, cat(vector.globals, []byte{0x7b, 1, 0xfd, 12}, make([]byte, 16), []byte{opEnd})
	for _, tt := range []struct {
		name string
		m    testModule
		want string
	}{
		{"stack pointer moved", reactor(0x41, 0, 0x24, 0), "stack pointer is 0 after the start, 1024 before"},
		{"start trapped", reactor(0x00), "sbx_init: "},
		{"start failed", failed, "sbx_init returned -3"},
		{"no sbx_init", noInit, "no function sbx_init"},
		{"no buffer", noBuf, "sbx_buf(16) returned 0"},
		{"memory.init", reactor(0x41, 0, 0x41, 0, 0x41, 0, opPrefix, subMemoryInit, 0, 0), "uses memory.init"},
		{"data.drop", reactor(opPrefix, subDataDrop, 0), "uses data.drop"},
		{"table.set", reactor(0x41, 0, 0xd0, 0x70, opTableSet, 0), "uses table.set"},
		{"table.grow", reactor(0xd0, 0x70, 0x41, 0, opPrefix, subTableGrow, 0, 0x1a), "uses table.grow"},
		{"no memory", raw, "0 memories"},
		{"name taken", twice, "already exports"},
		{"global of vectors", vector, "global 2 is mutable and of the type 0x7b"},
	} {
		_, err := Snapshot(context.Background(), tt.m.bytes(), nil)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want one with %q", tt.name, err, tt.want)
		}
	}
}

func TestSnapshotOfADataSegmentInTheStackKeepsIt(t *testing.T) {
	m := reactor()
	m.data = cat([]byte{1, 0, 0x41, 8, opEnd}, str("data"))
	s, err := Snapshot(context.Background(), m.bytes(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if s.Stack != 0 || string(s.Image[8:12]) != "data" {
		t.Errorf("stack %d, image %q", s.Stack, s.Image[8:12])
	}
}

func TestSnapshotEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	endless := reactor(opLoop, 0x40, opCall, 0, 0x0c, 0, opEnd) // calls tick for ever
	if _, err := Snapshot(ctx, endless.bytes(), nil); err == nil {
		t.Error("no error")
	}
}

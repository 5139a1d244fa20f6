// Package module prepares guests at build time: it reads and writes WebAssembly
// modules, adds the checks that make a guest stoppable, and replaces a guest's
// start-up by a snapshot of the memory it leaves behind.
//
// It never changes a type, an import or a function index, and it refuses a
// module that it does not understand completely: a new toolchain fails the
// build rather than run with a loop that cannot be stopped.
package module

import (
	"bytes"
	"errors"
	"fmt"
)

// Section numbers of the binary format.
const (
	secCustom = iota
	secType
	secImport
	secFunction
	secTable
	secMemory
	secGlobal
	secExport
	secStart
	secElement
	secCode
	secData
	secDataCount
)

// Kinds of imports and exports.
const (
	kindFunc = iota
	kindTable
	kindMemory
	kindGlobal
)

var magic = []byte{0, 'a', 's', 'm', 1, 0, 0, 0}

// section is one section of a module; the body excludes number and size.
type section struct {
	id   byte
	body []byte
}

// Module is a parsed module. Sections that nobody asked about stay as they are.
type Module struct {
	sections []section
}

// Parse splits a module into its sections. The module keeps pointing into wasm.
func Parse(wasm []byte) (*Module, error) {
	if !bytes.HasPrefix(wasm, magic) {
		return nil, errors.New("not a WebAssembly module of version 1")
	}
	m := &Module{}
	r := &reader{b: wasm, off: len(magic)}
	seen := map[byte]bool{}
	for r.more() {
		id := r.byte()
		body := r.take(r.u32())
		if r.err != nil {
			return nil, fmt.Errorf("section %d at byte %d: %w", id, r.off, r.err)
		}
		if id > secDataCount {
			return nil, fmt.Errorf("section number %d is unknown", id)
		}
		if id != secCustom && seen[id] {
			return nil, fmt.Errorf("section %d appears twice", id)
		}
		seen[id] = true
		m.sections = append(m.sections, section{id, body})
	}
	return m, nil
}

// Bytes encodes the module.
func (m *Module) Bytes() []byte {
	n := len(magic)
	for _, s := range m.sections {
		n += 6 + len(s.body)
	}
	out := append(make([]byte, 0, n), magic...)
	for _, s := range m.sections {
		out = append(out, s.id)
		out = appendU32(out, uint32(len(s.body)))
		out = append(out, s.body...)
	}
	return out
}

// body returns the body of section id, nil when there is none.
func (m *Module) body(id byte) []byte {
	for _, s := range m.sections {
		if s.id == id {
			return s.body
		}
	}
	return nil
}

// set replaces section id, which must exist.
func (m *Module) set(id byte, body []byte) {
	for i := range m.sections {
		if m.sections[i].id == id {
			m.sections[i].body = body
			return
		}
	}
}

// drop removes all sections of the given numbers.
func (m *Module) drop(ids ...byte) {
	kept := make([]section, 0, len(m.sections))
	for _, s := range m.sections {
		if !bytes.Contains(ids, []byte{s.id}) {
			kept = append(kept, s)
		}
	}
	m.sections = kept
}

// clone copies the list of sections, so that one can be changed.
func (m *Module) clone() *Module {
	return &Module{sections: append([]section(nil), m.sections...)}
}

// Import is one import of a module.
type Import struct {
	Module, Name string
	Kind         byte   // 0 function, 1 table, 2 memory, 3 global
	Type         uint32 // index of the function's type; functions only
}

// Imports lists what the module imports, in order.
func (m *Module) Imports() ([]Import, error) {
	r := &reader{b: m.body(secImport)}
	if len(r.b) == 0 {
		return nil, nil
	}
	var out []Import
	for n := r.count(); n > 0 && r.err == nil; n-- {
		im := Import{Module: r.name(), Name: r.name(), Kind: r.byte()}
		switch im.Kind {
		case kindFunc:
			im.Type = r.u32()
		case kindTable:
			r.byte()
			r.limits()
		case kindMemory:
			r.limits()
		case kindGlobal:
			r.byte()
			r.byte()
		default:
			r.fail("import %s.%s has the unknown kind %d", im.Module, im.Name, im.Kind)
		}
		out = append(out, im)
	}
	return out, r.end("import section")
}

// Export is one export of a module.
type Export struct {
	Name  string
	Kind  byte // as in Import
	Index uint32
}

// Exports lists what the module exports, in order.
func (m *Module) Exports() ([]Export, error) {
	r := &reader{b: m.body(secExport)}
	if len(r.b) == 0 {
		return nil, nil
	}
	var out []Export
	for n := r.count(); n > 0 && r.err == nil; n-- {
		out = append(out, Export{Name: r.name(), Kind: r.byte(), Index: r.u32()})
	}
	return out, r.end("export section")
}

// addExports appends to the export section, which must exist.
func (m *Module) addExports(add []Export) error {
	have, err := m.Exports()
	if err != nil {
		return err
	}
	for _, a := range add {
		for _, h := range have {
			if h.Name == a.Name {
				return fmt.Errorf("the module already exports %q", a.Name)
			}
		}
		have = append(have, a)
	}
	out := appendU32(nil, uint32(len(have)))
	for _, e := range have {
		out = appendU32(out, uint32(len(e.Name)))
		out = append(out, e.Name...)
		out = append(out, e.Kind)
		out = appendU32(out, e.Index)
	}
	m.set(secExport, out)
	return nil
}

// funcParams returns the number of parameters of each type, and the type of
// each function that has a body.
func (m *Module) funcParams() (params, funcs []uint32, err error) {
	r := &reader{b: m.body(secType)}
	for n := r.count(); n > 0 && r.err == nil; n-- {
		if form := r.byte(); form != 0x60 {
			r.fail("type of form %#x is not a function", form)
			break
		}
		p := r.u32()
		for range r.take(p) {
		}
		r.take(r.u32())
		params = append(params, p)
	}
	if err := r.end("type section"); err != nil {
		return nil, nil, err
	}
	r = &reader{b: m.body(secFunction)}
	for n := r.count(); n > 0 && r.err == nil; n-- {
		t := r.u32()
		if int(t) >= len(params) {
			r.fail("function of type %d, which does not exist", t)
		}
		funcs = append(funcs, t)
	}
	return params, funcs, r.end("function section")
}

// global is one global variable that the module defines.
type global struct {
	typ     byte
	mutable bool
	init    []byte // constant expression with its end
}

// globals reads the global section.
func (m *Module) globals() ([]global, error) {
	r := &reader{b: m.body(secGlobal)}
	if len(r.b) == 0 {
		return nil, nil
	}
	var out []global
	for n := r.count(); n > 0 && r.err == nil; n-- {
		g := global{typ: r.byte(), mutable: r.byte() == 1}
		start := r.off
		for r.err == nil {
			if in := r.instruction(); in.op == opEnd {
				break
			}
		}
		if r.err == nil {
			g.init = r.b[start:r.off]
		}
		out = append(out, g)
	}
	return out, r.end("global section")
}

// setGlobals writes the global section; one must exist.
func (m *Module) setGlobals(gs []global) {
	out := appendU32(nil, uint32(len(gs)))
	for _, g := range gs {
		out = append(out, g.typ, 0)
		if g.mutable {
			out[len(out)-1] = 1
		}
		out = append(out, g.init...)
	}
	m.set(secGlobal, out)
}

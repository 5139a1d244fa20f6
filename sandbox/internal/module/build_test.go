package module

// Test modules, written by hand.

// Types of the test modules, by index.
const (
	typeVoid  = iota // () -> ()
	typeI32          // (i32) -> i32
	typeConst        // () -> i32
)

type testModule struct {
	imports []string // functions of module sbx, all of typeVoid
	funcs   []testFunc
	globals []byte // entries after the count; count is numGlobals
	nGlobal int
	data    []byte // body of the data section
	memory  []byte // body of the memory section; nil is one page
	tables  bool   // a table of one element, and an element segment with function 0
	raw     []section
	exports []Export
}

type testFunc struct {
	name string
	typ  byte
	code []byte // locals and instructions, with the end
}

func vec(items ...[]byte) []byte {
	out := appendU32(nil, uint32(len(items)))
	for _, i := range items {
		out = append(out, i...)
	}
	return out
}

func str(s string) []byte { return append(appendU32(nil, uint32(len(s))), s...) }

func (tm testModule) bytes() []byte {
	m := &Module{}
	add := func(id byte, body []byte) { m.sections = append(m.sections, section{id, body}) }
	add(secType, vec([]byte{0x60, 0, 0}, []byte{0x60, 1, 0x7f, 1, 0x7f}, []byte{0x60, 0, 1, 0x7f}))
	var imports, types, codes [][]byte
	exports := tm.exports
	for _, name := range tm.imports {
		imports = append(imports, append(append(str(TickModule), str(name)...), kindFunc, typeVoid))
	}
	for i, f := range tm.funcs {
		types = append(types, []byte{f.typ})
		codes = append(codes, append(appendU32(nil, uint32(len(f.code))), f.code...))
		exports = append(exports, Export{f.name, kindFunc, uint32(len(tm.imports) + i)})
	}
	add(secImport, vec(imports...))
	add(secFunction, vec(types...))
	if tm.tables {
		add(secTable, []byte{1, 0x70, 0, 1})
	}
	memory := tm.memory
	if memory == nil {
		memory = []byte{1, 0, 1}
	}
	add(secMemory, memory)
	if tm.globals == nil {
		tm.globals, tm.nGlobal = []byte{0x7f, 1, 0x41, 7, opEnd}, 1
	}
	add(secGlobal, append(appendU32(nil, uint32(tm.nGlobal)), tm.globals...))
	add(secExport, vec())
	if err := m.addExports(append(exports, Export{"memory", kindMemory, 0})); err != nil {
		panic(err)
	}
	if tm.tables {
		add(secElement, []byte{1, 0, 0x41, 0, opEnd, 1, byte(len(tm.imports))})
	}
	if tm.data != nil && hasPassive(tm.data) {
		add(secDataCount, []byte{tm.data[0]})
	}
	add(secCode, vec(codes...))
	if tm.data != nil {
		add(secData, tm.data)
	}
	m.sections = append(m.sections, tm.raw...)
	return m.Bytes()
}

func hasPassive(data []byte) bool { return len(data) > 1 && data[1] == 1 }

// cat joins pieces of code.
func cat(parts ...[]byte) []byte {
	var out []byte
	for _, p := range parts {
		out = append(out, p...)
	}
	return out
}

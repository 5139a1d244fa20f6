package module

// Instructions that somebody here asks for by name.
const (
	opBlock       = 0x02
	opLoop        = 0x03
	opIf          = 0x04
	opEnd         = 0x0b
	opCall        = 0x10
	opCallInd     = 0x11
	opGlobalGet   = 0x23
	opTableSet    = 0x26
	opPrefix      = 0xfc
	opVector      = 0xfd
	subMemoryInit = 8
	subDataDrop   = 9
	subMemoryCopy = 10
	subMemoryFill = 11
	subTableInit  = 12
	subElemDrop   = 13
	subTableCopy  = 14
	subTableGrow  = 15
	subTableSize  = 16
	subTableFill  = 17
)

// instruction is one instruction: its operation, the number after a prefix
// byte, and where it starts. It ends where the reader stands.
type instruction struct {
	op    byte
	sub   uint32
	start int
	arg   uint32 // function of a call
}

// instruction reads one instruction with its immediates. What is not in the
// list is an error: threads (0xfe), tail calls (0x12, 0x13: a cycle without a
// loop head), typed references and garbage collection (0xfb), and exceptions
// (0x06 to 0x0a, 0x18 to 0x1f), for which see RATIONALE.md.
func (r *reader) instruction() instruction {
	in := instruction{start: r.off}
	in.op = r.byte()
	switch op := in.op; {
	case op == opBlock || op == opLoop || op == opIf:
		r.skipLEB(5) // block type
	case op <= 0x01, op == 0x05, op == opEnd, op == 0x0f, op == 0x1a, op == 0x1b,
		op >= 0x45 && op <= 0xc4, op == 0xd1:
	case op == 0x0c, op == 0x0d, op == 0xd2, op >= 0x20 && op <= opTableSet:
		r.u32()
	case op == opCall:
		in.arg = r.u32()
	case op == opCallInd:
		r.u32()
		r.u32()
	case op == 0x0e: // br_table
		for n := r.count(); n > 0 && r.err == nil; n-- {
			r.u32()
		}
		r.u32()
	case op == 0x1c: // select with types
		r.take(r.count())
	case op >= 0x28 && op <= 0x3e:
		r.memarg()
	case op == 0x3f, op == 0x40, op == 0xd0:
		r.byte()
	case op == 0x41:
		r.skipLEB(5)
	case op == 0x42:
		r.skipLEB(10)
	case op == 0x43:
		r.take(4)
	case op == 0x44:
		r.take(8)
	case op == opPrefix:
		in.sub = r.u32()
		switch {
		case in.sub < subMemoryInit: // saturating conversions
		case in.sub == subMemoryInit, in.sub == subMemoryCopy, in.sub == subTableInit, in.sub == subTableCopy:
			r.u32()
			r.u32()
		case in.sub <= subTableFill:
			r.u32()
		default:
			r.fail("instruction 0xfc %d is unknown", in.sub)
		}
	case op == opVector:
		in.sub = r.u32()
		r.vector(in.sub)
	default:
		r.fail("instruction %#x is unknown", op)
	}
	return in
}

// memarg reads alignment and offset of a memory access.
func (r *reader) memarg() {
	if align := r.u32(); align > 4 {
		r.fail("memory access with alignment %d: several memories are not supported", align)
	}
	r.u32()
}

// vector reads the immediates of a SIMD instruction. Relaxed SIMD (from 0x100)
// is unknown, as is every number that version 2 of the format leaves free.
func (r *reader) vector(sub uint32) {
	switch {
	case sub <= 11, sub == 92, sub == 93: // loads and stores
		r.memarg()
	case sub == 12, sub == 13: // constant, shuffle
		r.take(16)
	case sub >= 21 && sub <= 34: // lanes
		r.byte()
	case sub >= 84 && sub <= 91: // loads and stores of a lane
		r.memarg()
		r.byte()
	case sub <= 0xff:
	default:
		r.fail("vector instruction %#x is unknown", sub)
	}
}

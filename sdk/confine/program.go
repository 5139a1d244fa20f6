package confine

// Program is what a launcher turns its own process into, once it is narrowed.
type Program struct {
	Policy Policy
	// Path of the program. It is started by this name unless Descriptor says
	// which file is meant.
	Path string
	// Descriptor is the open file that is executed whatever has its name by
	// now; 0 means the one at Path. It adds itself to Policy.ExecFiles. A
	// script cannot be started by descriptor.
	Descriptor int
	Args       []string // the first is the name by which the program is called
	// Keep are open descriptors that the program has as 3, 4 and so on, in this
	// order. Each has a number above those. Linux only.
	Keep []int
	// Parent is the process whose end ends the program, which cannot change
	// that; 0 means none.
	Parent int
}

// Become narrows this process to p.Policy and executes the program, with the
// environment and standard streams as they are and every other descriptor but
// p.Keep closed. Unless the policy has Exec, the program starts none after it, not even
// itself. It returns only when that fails; end the process then, which may be
// narrowed in part.
func Become(p Program) error { return become(p) }

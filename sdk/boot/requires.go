package boot

// Requires is what a plugin needs beyond its own program. The gateway gives
// none of it before the operator has accepted it with `sallyport plugin add`.
type Requires struct {
	// Read names files and directories, with everything below them, that the
	// plugin reads: absolute paths. Programs and libraries of an interpreter
	// need not be named.
	Read []string `json:"read,omitempty"`
	// Programs allows new processes, of the plugin's own program and of those
	// among Read that are executable.
	Programs bool `json:"programs,omitempty"`
	// Memory is how many bytes of private memory each of its processes may
	// use; 0 means 1 GiB. More is refused by the kernel, as a failed
	// allocation.
	Memory int64 `json:"memory,omitempty"`
}

// IsZero reports whether nothing is required.
func (r Requires) IsZero() bool { return len(r.Read) == 0 && !r.Programs && r.Memory == 0 }

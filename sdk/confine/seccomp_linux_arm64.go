package confine

import "golang.org/x/sys/unix"

const (
	auditArch  = uint32(unix.AUDIT_ARCH_AARCH64)
	foreignBit = 0
	sysOpen    = 0 // has only openat
)

var (
	archAlways     = []uint32{}
	archProcesses  = []uint32{}
	archRemovals   = []uint32{}
	archAttributes = []uint32{unix.SYS_RENAMEAT}
)

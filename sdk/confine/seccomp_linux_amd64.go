package confine

import "golang.org/x/sys/unix"

const (
	auditArch  = uint32(unix.AUDIT_ARCH_X86_64)
	foreignBit = 0x40000000 // of the x32 numbers, which share the architecture
	sysOpen    = unix.SYS_OPEN
)

var (
	archAlways    = []uint32{unix.SYS_IOPL, unix.SYS_IOPERM, unix.SYS_MODIFY_LDT, unix.SYS_USELIB, unix.SYS__SYSCTL, unix.SYS_CREATE_MODULE, unix.SYS_QUERY_MODULE, unix.SYS_GET_KERNEL_SYMS}
	archProcesses = []uint32{unix.SYS_FORK, unix.SYS_VFORK}
	archRemovals  = []uint32{unix.SYS_UNLINK}

	archAttributes = []uint32{
		unix.SYS_CHMOD, unix.SYS_CHOWN, unix.SYS_LCHOWN, unix.SYS_UTIME, unix.SYS_UTIMES, unix.SYS_FUTIMESAT, unix.SYS_CREAT, unix.SYS_MKNOD,
		unix.SYS_MKDIR, unix.SYS_RMDIR, unix.SYS_SYMLINK, unix.SYS_LINK, unix.SYS_RENAME, unix.SYS_RENAMEAT,
	}
)

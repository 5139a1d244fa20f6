//go:build linux

package main

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"unsafe"

	"golang.org/x/sys/unix"
)

// accessList gives a file the mode 0644 by the attribute that holds its access
// list, with a call that is newer than the others.
func accessList(path string) error {
	const version = 2
	list := binary.LittleEndian.AppendUint32(nil, version)
	for _, e := range []struct{ tag, perm uint16 }{{0x01, 6}, {0x04, 4}, {0x20, 4}} { // owner, group, others
		list = binary.LittleEndian.AppendUint16(list, e.tag)
		list = binary.LittleEndian.AppendUint16(list, e.perm)
		list = binary.LittleEndian.AppendUint32(list, ^uint32(0))
	}
	at := int(unix.AT_FDCWD)
	name, err := unix.BytePtrFromString("system.posix_acl_access")
	if err != nil {
		return err
	}
	file, err := unix.BytePtrFromString(path)
	if err != nil {
		return err
	}
	args := struct {
		value       *byte
		size, flags uint32
	}{&list[0], uint32(len(list)), 0}
	_, _, errno := unix.Syscall6(unix.SYS_SETXATTRAT, uintptr(at), uintptr(unsafe.Pointer(file)), 0, uintptr(unsafe.Pointer(name)), uintptr(unsafe.Pointer(&args)), unsafe.Sizeof(args))
	if errno != 0 {
		return errno
	}
	return nil
}

// room takes some of the disk for a file that stays empty.
func room() error {
	f, err := os.Create(filepath.Join(os.TempDir(), "room"))
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	return unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, 0, 1<<20)
}

// socketBuffer lets more wait in a socket than is usual.
func socketBuffer() error {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	defer unix.Close(pair[0])
	defer unix.Close(pair[1])
	return unix.SetsockoptInt(pair[0], unix.SOL_SOCKET, unix.SO_SNDBUF, 4<<20)
}

// pipePages gives pages to a pipe, which keeps them when the process does not.
func pipePages() error {
	var p [2]int
	if err := unix.Pipe(p[:]); err != nil {
		return err
	}
	defer unix.Close(p[0])
	defer unix.Close(p[1])
	page := make([]byte, 4096)
	_, err := unix.Vmsplice(p[1], []unix.Iovec{{Base: &page[0], Len: uint64(len(page))}}, 0)
	return err
}

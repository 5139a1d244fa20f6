package pluginhost

import (
	"cmp"
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sallyport-gateway/sallyport/sdk/boot"
	"github.com/sallyport-gateway/sallyport/sdk/confine"
)

// Limits of one plugin process.
const (
	defaultMemory = 1 << 30 // bytes, where the manifest asks for no other
	addressSpace  = 256 << 30
	openFiles     = 256
	// Connections of the gateway to a provider's process at most, beside its
	// openFiles; see connsOf.
	dataConns = 4096
	threads   = 512
	// A plugin that starts programs hands its limits to them.
	openFilesPrograms = 1 << 16
	threadsPrograms   = 4096
)

// harmless is what programs of every kind look for and what tells nothing about
// other processes or users. Whatever does not exist is left out.
var harmless = []string{
	"/dev/urandom", "/etc/localtime", "/usr/share/zoneinfo",
	"/proc/self", "/proc/meminfo", "/proc/cpuinfo", "/proc/stat", "/proc/sys/vm/overcommit_memory", // "self" is the launcher, whose number the plugin keeps
	"/sys/fs/cgroup", "/sys/devices/system/cpu", "/sys/kernel/mm/transparent_hugepage",
}

// libraries are where the system keeps those that programs are linked with.
var libraries = []string{"/lib", "/lib32", "/lib64", "/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/local/lib", "/usr/local/lib64", "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d"}

// policy says what a plugin process keeps. file is the program, nil when an
// interpreter runs it.
//
// # Isolation
//
// It reads its own program, the libraries that this needs, and what the operator
// accepted; it makes sockets in its own directory and waits at them. It dials
// nobody: Landlock before version 9 does not know sockets that are files, and
// the gateway's control socket and those of other plugins are such. Its
// directory belongs to it alone; of other processes it sees none, unless it may
// start some. It ends with the gateway. Memory, descriptors and threads are
// limited; see guard for what the kernel does not count.
func policy(l Launch, file *os.File) (confine.Policy, error) {
	p := confine.Policy{
		SocketDirs: []string{l.Dir},
		WriteFiles: existing(os.DevNull), // who starts programs gives it to them
		Listen:     true,
		OwnUser:    true,
		MaxMemory:  cmp.Or(l.Requires.Memory, defaultMemory),
		// The tables of the pages are no private memory; Node reserves 10 GiB
		// for each memory of WebAssembly.
		MaxAddressSpace: addressSpace,
		MaxFileSize:     -1,
		MaxOpenFiles:    openFiles,
		MaxProcesses:    processes(threads),
	}
	if l.Kind == boot.Provider {
		p.MaxOpenFiles += dataConns
	}
	if l.Requires.Programs {
		p.Exec, p.MaxOpenFiles, p.MaxProcesses = true, openFilesPrograms, processes(threadsPrograms)
		// The numbers of its children are not known yet, and they look at
		// themselves. Of other processes this shows the command lines; their
		// memory, environment and files stay closed to whoever is confined.
		p.ReadDirs = append(p.ReadDirs, existing("/proc")...)
	}
	read := slices.Concat(harmless, l.Read)
	if file != nil {
		loader, err := loaderOf(file)
		if err != nil {
			return p, err
		}
		if loader != "" {
			p.ExecFiles = append(p.ExecFiles, loader)
			read = append(read, libraries...)
		}
	} else {
		programs, err := interpreterPrograms(l.Interpreter[0])
		if err != nil {
			return p, err
		}
		p.ExecFiles = append(p.ExecFiles, programs...)
		read = append(read, interpreterReads()...)
		if l.Files == "" {
			read = append(read, l.Path)
		}
	}
	if l.Files != "" {
		read = append(read, l.Files)
	}
	for _, path := range l.Requires.Read {
		if _, err := os.Stat(path); err != nil {
			return p, &startError{fmt.Sprintf("requires to read %s, which cannot be found: %v", path, errors.Unwrap(err))}
		}
		read = append(read, path)
	}
	for _, path := range read {
		switch info, err := os.Stat(path); {
		case err != nil:
		case info.IsDir():
			p.ReadDirs = append(p.ReadDirs, path)
		default:
			p.ReadFiles = append(p.ReadFiles, path)
		}
	}
	return p, nil
}

// maxConns is how many connections the gateway makes to a provider's process.
func maxConns() int {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return dataConns
	}
	return connsOf(l.Cur) // Go has raised it to the hard limit
}

// connsOf is maxConns where the gateway may have limit descriptors: a request
// whose surface a plugin translates takes four of them, for its client, the
// surface's plugin, the provider's plugin and the provider. The rest is for
// tables, the ledger and the state database. A plugin that can have as many
// descriptors as the gateway finds enough for its ends too.
func connsOf(limit uint64) int {
	const (
		reserve = 256
		each    = 4
		least   = 16
	)
	limit = min(limit, reserve+each*dataConns) // may be no limit at all
	return max((int(limit)-reserve)/each, least)
}

// processes is RLIMIT_NPROC of a plugin. Root's plugins have a user of their
// own, so that it is theirs alone; those of any other user share the number
// with everything this user runs, of which the gateway must keep a part.
func processes(own int) int {
	if os.Geteuid() == 0 {
		return own
	}
	const most = 1 << 14
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NPROC, &l); err != nil {
		return most
	}
	return int(min(l.Cur/4*3, most))
}

func existing(paths ...string) []string {
	return slices.DeleteFunc(slices.Clone(paths), func(p string) bool {
		_, err := os.Stat(p)
		return err != nil
	})
}

// loaderOf is the dynamic loader that a program names, "" when it needs none.
func loaderOf(program *os.File) (string, error) {
	f, err := elf.NewFile(program)
	if err != nil {
		return "", nil // not a program of Linux: the system says what it thinks of it
	}
	for _, p := range f.Progs {
		if p.Type != elf.PT_INTERP {
			continue
		}
		name := make([]byte, min(p.Filesz, 4096))
		if _, err := p.ReadAt(name, 0); err != nil {
			return "", fmt.Errorf("program %s: loader: %w", program.Name(), err)
		}
		path := strings.TrimRight(string(name), "\x00")
		if _, err := os.Stat(path); err != nil {
			return "", &startError{fmt.Sprintf("needs the loader %s, which this system does not have; build it with CGO_ENABLED=0", path)}
		}
		return path, nil
	}
	return "", nil
}

// interpreterPrograms are the files that have to be executed to run an
// interpreter: its own, and its loader.
func interpreterPrograms(interpreter string) ([]string, error) {
	f, err := os.Open(interpreter)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &startError{fmt.Sprintf("needs the interpreter %s, which does not exist any more; add the plugin again with `sallyport plugin add`", interpreter)}
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	start := make([]byte, 2)
	if _, err := f.ReadAt(start, 0); err == nil && string(start) == "#!" {
		return nil, &startError{fmt.Sprintf("has the interpreter %s, which is a script itself; name the program that it starts: `sallyport plugin add --interpreter PATH`", interpreter)}
	}
	loader, err := loaderOf(f)
	if err != nil {
		return nil, err
	}
	if loader == "" {
		return []string{interpreter}, nil
	}
	return []string{interpreter, loader}, nil
}

// interpreterReads is what every interpreter has to read to run a script: the
// libraries of the system. Its own were found when the plugin was added; the
// list keeps them, see interpreterDirs. Whatever does not exist is left out.
func interpreterReads() []string {
	return existing(slices.Concat(libraries, []string{"/etc/ssl/openssl.cnf", "/usr/share/nodejs", "/usr/share/javascript", "/etc/python3"})...)
}

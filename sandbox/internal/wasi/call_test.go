package wasi

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/experimental/wazerotest"
)

// idle is a host that nobody stops.
type idle struct{ slept time.Duration }

func (*idle) Enter(int64)                   {}
func (*idle) Tick()                         {}
func (h *idle) Sleep(d time.Duration)       { h.slept += d }
func (*idle) Request([]byte) ([]byte, bool) { return nil, false }

// guest is a Proc with a memory, called as a guest would.
type guest struct {
	*Proc
	mem  *wazerotest.Memory
	host *idle
}

func newGuest(t testing.TB, fs *FS) guest {
	h := &idle{}
	return guest{Proc: NewProc(fs, h, 1000), mem: wazerotest.NewFixedMemory(wazerotest.PageSize), host: h}
}

func (g guest) call(name string, args ...uint64) Errno {
	return allowed[name].call(&call{Proc: g.Proc, mem: g.mem, args: append(args, 0)})
}

// str puts s at the address and returns the two arguments for it.
func (g guest) str(at uint32, s string) (uint64, uint64) {
	g.mem.WriteString(at, s)
	return uint64(at), uint64(len(s))
}

func (g guest) open(t testing.TB, path string, oflags, rights, flags uint64) (uint64, Errno) {
	t.Helper()
	p, n := g.str(100, path)
	errno := g.call("path_open", 3, 0, p, n, oflags, rights, 0, flags, 50)
	fd, _ := g.mem.ReadUint32Le(50)
	return uint64(fd), errno
}

// vectors puts a list of one buffer at address 200.
func (g guest) vector(at, n uint32) uint64 {
	g.mem.WriteUint32Le(200, at)
	g.mem.WriteUint32Le(204, n)
	return 200
}

func smallFS(t testing.TB) *FS {
	fs, err := NewFS(nil, map[string][]byte{"t.csv": []byte("a,b\n1,2\n")}, Quota{Bytes: 1 << 20, Inodes: 20, Files: 5})
	if err != nil {
		t.Fatal(err)
	}
	return fs
}

const readWrite = rightRead | rightWrite

func TestSignatures(t *testing.T) {
	ctx := context.Background()
	r := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigInterpreter())
	defer r.Close(ctx)
	if err := Instantiate(ctx, r); err != nil {
		t.Fatal(err)
	}
	for name := range refused {
		if _, ok := allowed[name]; ok {
			t.Errorf("%s is both allowed and refused", name)
		}
	}
	// Everything of WASI preview 1 is there or, as proc_exit, apart.
	const all = "args_get args_sizes_get clock_res_get clock_time_get environ_get environ_sizes_get fd_advise fd_allocate fd_close " +
		"fd_datasync fd_fdstat_get fd_fdstat_set_flags fd_fdstat_set_rights fd_filestat_get fd_filestat_set_size fd_filestat_set_times " +
		"fd_pread fd_prestat_dir_name fd_prestat_get fd_pwrite fd_read fd_readdir fd_renumber fd_seek fd_sync fd_tell fd_write " +
		"path_create_directory path_filestat_get path_filestat_set_times path_link path_open path_readlink path_remove_directory " +
		"path_rename path_symlink path_unlink_file poll_oneoff proc_exit proc_raise random_get sched_yield sock_accept sock_recv sock_send sock_shutdown"
	var want []string
	for name := range strings.FieldsSeq(all) {
		want = append(want, ModuleName+"."+name)
	}
	want = append(want, "sbx.call", "sbx.tick")
	var got []string
	for name := range Allowed() {
		got = append(got, name)
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("a guest may import\n%v\nwant\n%v", got, want)
	}
	// No door leads out: these only refuse.
	for _, name := range strings.Fields("path_link path_symlink path_readlink sock_accept sock_recv sock_send sock_shutdown proc_raise fd_fdstat_set_rights") {
		if does, ok := Allowed()[ModuleName+"."+name]; !ok || does {
			t.Errorf("%s does something", name)
		}
	}
}

func TestReadAndWriteThroughDescriptors(t *testing.T) {
	g := newGuest(t, smallFS(t))
	fd, errno := g.open(t, "data/t.csv", 0, rightRead, 0)
	if errno != 0 {
		t.Fatal(errno)
	}
	if errno := g.call("fd_read", fd, g.vector(1000, 4), 1, 60); errno != 0 {
		t.Fatal(errno)
	}
	if b, _ := g.mem.Read(1000, 4); string(b) != "a,b\n" {
		t.Errorf("read %q", b)
	}
	g.call("fd_pread", fd, g.vector(1000, 100), 1, 4, 60)
	if n, _ := g.mem.ReadUint32Le(60); n != 4 {
		t.Errorf("read %d bytes at 4", n)
	}
	out, errno := g.open(t, "tmp/out", oCreate, readWrite, fdAppend)
	if errno != 0 {
		t.Fatal(errno)
	}
	g.str(1000, "hello")
	for range 2 {
		if errno := g.call("fd_write", out, g.vector(1000, 5), 1, 60); errno != 0 {
			t.Error(errno)
		}
	}
	if errno := g.call("fd_pwrite", out, g.vector(1000, 1), 1, 9, 60); errno != 0 {
		t.Error(errno)
	}
	if b, _ := g.FS.ReadFile("tmp/out"); string(b) != "hellohellh" {
		t.Errorf("the file holds %q", b)
	}
	if errno := g.call("fd_renumber", out, fd); errno != 0 {
		t.Error(errno)
	}
	if errno := g.call("fd_tell", out, 60); errno != EBADF {
		t.Errorf("descriptor that moved away: %d", errno)
	}
	if errno := g.call("fd_tell", fd, 60); errno != 0 {
		t.Errorf("descriptor that it moved to: %d", errno)
	}
	g.Proc.Close()
	if n := g.FS.tmp.children["out"].open; n != 0 {
		t.Errorf("%d handles are open after Close", n)
	}
}

func TestBadArguments(t *testing.T) {
	g := newGuest(t, smallFS(t))
	file, _ := g.open(t, "tmp/x", oCreate, readWrite, 0)
	ro, _ := g.open(t, "data/t.csv", 0, rightRead, 0)
	const far = 1 << 30
	g.mem.WriteUint32Le(300, far) // a buffer outside
	g.mem.WriteUint32Le(304, 8)
	for _, tt := range []struct {
		name string
		args []uint64
		errno
	}{
		{"fd_read", []uint64{99, 200, 1, 60}, EBADF},
		{"fd_read", []uint64{1<<32 - 1, 200, 1, 60}, EBADF},
		{"fd_read", []uint64{1, 200, 1, 60}, EBADF},
		{"fd_read", []uint64{3, 200, 1, 60}, EISDIR},
		{"fd_read", []uint64{ro, far, 1, 60}, EFAULT},
		{"fd_read", []uint64{ro, 300, 1, 60}, EFAULT},
		{"fd_read", []uint64{ro, g.vector(1000, 1), 1, far}, EFAULT},
		{"fd_read", []uint64{ro, 200, maxVectors + 1, 60}, EINVAL},
		{"fd_read", []uint64{ro, 200, 1<<32 - 1, 60}, EINVAL},
		{"fd_write", []uint64{ro, 200, 1, 60}, EBADF},
		{"fd_write", []uint64{0, 200, 1, 60}, EBADF},
		{"fd_pread", []uint64{file, 200, 1, 1 << 63, 60}, EINVAL},
		{"fd_pwrite", []uint64{file, 200, 1, 1 << 63, 60}, EINVAL},
		{"fd_pwrite", []uint64{1, 200, 1, 0, 60}, ESPIPE},
		{"fd_seek", []uint64{file, 1 << 62, 0, 60}, EINVAL},
		{"fd_seek", []uint64{file, 1 << 63, 1, 60}, EINVAL},
		{"fd_seek", []uint64{file, 0, 3, 60}, EINVAL},
		{"fd_seek", []uint64{1, 0, 0, 60}, ESPIPE},
		{"fd_close", []uint64{3}, ENOTSUP},
		{"fd_renumber", []uint64{file, 3}, ENOTSUP},
		{"fd_renumber", []uint64{3, file}, ENOTSUP},
		{"fd_renumber", []uint64{file, 99}, EBADF},
		{"fd_allocate", []uint64{file, 1 << 62, 1 << 62}, EINVAL},
		{"fd_allocate", []uint64{file, 0, 1 << 40}, ENOSPC},
		{"fd_filestat_set_size", []uint64{file, 1 << 40}, ENOSPC},
		{"fd_filestat_set_size", []uint64{ro, 0}, EINVAL},
		{"fd_readdir", []uint64{file, 1000, 100, 0, 60}, ENOTDIR},
		{"fd_readdir", []uint64{3, far, 100, 0, 60}, EFAULT},
		{"path_open", []uint64{file, 0, 100, 1, 0, 0, 0, 0, 50}, ENOTDIR},
		{"path_open", []uint64{3, 0, far, 1, 0, 0, 0, 0, 50}, EFAULT},
		{"path_open", []uint64{3, 0, 100, maxPath + 1, 0, 0, 0, 0, 50}, ENAMETOOLONG},
		{"path_open", []uint64{3, 0, 100, 1<<32 - 1, 0, 0, 0, 0, 50}, ENAMETOOLONG},
		{"path_filestat_set_times", []uint64{3, 0, 100, 0, 0, 0, 3}, ENOENT},
		{"clock_time_get", []uint64{2, 0, 60}, EINVAL},
		{"clock_time_get", []uint64{0, 0, far}, EFAULT},
		{"random_get", []uint64{0, far}, EFAULT},
		{"random_get", []uint64{60, 1<<32 - 1}, EFAULT},
		{"poll_oneoff", []uint64{0, 1000, 0, 60}, EINVAL},
		{"poll_oneoff", []uint64{0, 1000, maxSubscriptions + 1, 60}, EINVAL},
		{"poll_oneoff", []uint64{far, 1000, 1, 60}, EFAULT},
		{"poll_oneoff", []uint64{0, far, 1, 60}, EFAULT},
		{"args_sizes_get", []uint64{far, 60}, EFAULT},
		{"fd_prestat_get", []uint64{4, 60}, EBADF},
		{"fd_prestat_dir_name", []uint64{3, 60, 0}, ENAMETOOLONG},
	} {
		if got := g.call(tt.name, tt.args...); got != tt.errno {
			t.Errorf("%s%d: %d, want %d", tt.name, tt.args, got, tt.errno)
		}
	}
	if n := g.OpenFiles(); n != 2 {
		t.Errorf("%d files are open", n)
	}
}

func TestOpenFilesAreBounded(t *testing.T) {
	g := newGuest(t, smallFS(t))
	for i := range 6 {
		_, errno := g.open(t, "data/t.csv", 0, rightRead, 0)
		if want := map[bool]Errno{false: 0, true: EMFILE}[i == 5]; errno != want {
			t.Errorf("file %d: %d, want %d", i, errno, want)
		}
	}
}

func TestPollWaitsForTheEarliestClock(t *testing.T) {
	sub := func(b []byte, user uint64, kind byte, clock uint32, at uint64, flags uint16) {
		binary.LittleEndian.PutUint64(b, user)
		b[8] = kind
		binary.LittleEndian.PutUint32(b[16:], clock)
		binary.LittleEndian.PutUint64(b[24:], at)
		binary.LittleEndian.PutUint16(b[40:], flags)
	}
	for _, tt := range []struct {
		name  string
		fill  func(b []byte)
		count uint64
		slept func(d time.Duration) bool
		users []uint64
	}{
		{"one", func(b []byte) { sub(b, 7, 0, clockMonotonic, 5e9, 0) }, 1, func(d time.Duration) bool { return d == 5*time.Second }, []uint64{7}},
		{"the earlier of two", func(b []byte) { sub(b, 7, 0, clockMonotonic, 5e9, 0); sub(b[48:], 8, 0, clockWall, 2e9, 0) }, 2,
			func(d time.Duration) bool { return d == 2*time.Second }, []uint64{8}},
		{"a file is ready", func(b []byte) { sub(b, 7, 0, clockMonotonic, 5e9, 0); sub(b[48:], 9, 1, 0, 0, 0) }, 2,
			func(d time.Duration) bool { return d == 0 }, []uint64{9}},
		{"the past", func(b []byte) { sub(b, 7, 0, clockWall, 1, absoluteTime) }, 1, func(d time.Duration) bool { return d == 0 }, []uint64{7}},
		{"for ever", func(b []byte) { sub(b, 7, 0, clockMonotonic, 1<<64-1, 0) }, 1, func(d time.Duration) bool { return d == maxSleep }, []uint64{7}},
		{"tomorrow", func(b []byte) {
			sub(b, 7, 0, clockWall, uint64(time.Now().Add(24*time.Hour).UnixNano()), absoluteTime)
		}, 1, func(d time.Duration) bool { return d == maxSleep }, []uint64{7}},
		{"an unknown clock", func(b []byte) { sub(b, 7, 0, 99, 5e9, 0) }, 1, func(d time.Duration) bool { return d == 0 }, []uint64{7}},
	} {
		g := newGuest(t, smallFS(t))
		b, _ := g.mem.Read(1000, 96)
		tt.fill(b)
		errno := g.call("poll_oneoff", 1000, 2000, tt.count, 60)
		n, _ := g.mem.ReadUint32Le(60)
		var users []uint64
		for i := range n {
			u, _ := g.mem.ReadUint64Le(2000 + i*eventSize)
			users = append(users, u)
		}
		// A wait until a time has the rest of it, so for ever is an hour at most.
		if errno != 0 || !tt.slept(g.host.slept) || !slices.Equal(users, tt.users) && g.host.slept != maxSleep {
			t.Errorf("%s: error %d, slept %v, events %v", tt.name, errno, g.host.slept, users)
		}
	}
}

func TestReaddirInSmallPieces(t *testing.T) {
	fs := smallFS(t)
	var want []string
	for i := range 12 {
		name := fmt.Sprintf("file-%02d", i)
		want = append(want, name)
		fs.WriteFile("tmp/"+name, nil)
	}
	g := newGuest(t, fs)
	dir, errno := g.open(t, "tmp", oDirectory, readWrite, 0)
	if errno != 0 {
		t.Fatal(errno)
	}
	var got []string
	for cookie, rounds := uint64(0), 0; rounds < 100; rounds++ {
		if errno := g.call("fd_readdir", dir, 1000, 90, cookie, 60); errno != 0 {
			t.Fatal(errno)
		}
		used, _ := g.mem.ReadUint32Le(60)
		b, _ := g.mem.Read(1000, used)
		for len(b) >= 24 {
			n := int(binary.LittleEndian.Uint32(b[16:]))
			if len(b) < 24+n {
				break // cut: the next round starts with it
			}
			got = append(got, string(b[24:24+n]))
			cookie = binary.LittleEndian.Uint64(b)
			b = b[24+n:]
		}
		if used < 90 {
			break
		}
	}
	if want := append([]string{".", ".."}, want...); !slices.Equal(got, want) {
		t.Errorf("listed %v", got)
	}
}

func TestFrozenTimeAndChance(t *testing.T) {
	look := func() (out []uint64) {
		g := newGuest(t, smallFS(t))
		g.Freeze()
		for range 2 {
			for clock := range uint64(2) {
				g.call("clock_time_get", clock, 0, 64)
				v, _ := g.mem.ReadUint64Le(64)
				out = append(out, v)
			}
			g.call("random_get", 64, 8)
			v, _ := g.mem.ReadUint64Le(64)
			out = append(out, v)
		}
		for _, dir := range []*node{g.FS.root, g.FS.tmp, g.FS.addDir(g.FS.tmp, "new")} {
			out = append(out, uint64(dir.mtime))
		}
		return out
	}
	a, b := look(), look()
	if !slices.Equal(a, b) || a[0] >= a[3] || a[1] >= a[4] || a[2] == a[5] {
		t.Errorf("%v and %v", a, b)
	}
}

// FuzzCalls makes any calls with any arguments. Nothing may panic, and what is
// charged must be what is there.
func FuzzCalls(f *testing.F) {
	f.Add([]byte("path_open, and then some calls with arguments of their own"))
	names := make([]string, 0, len(allowed))
	for name := range allowed {
		names = append(names, name)
	}
	slices.Sort(names)
	interesting := []uint64{0, 1, 2, 3, 4, 5, 50, 60, 100, 200, 1000, 4096, 65535, 65536, 1<<31 - 1, 1 << 31, 1<<32 - 1, 1<<63 - 1, 1 << 63, 1<<64 - 1}
	f.Fuzz(func(t *testing.T, b []byte) {
		g := newGuest(t, smallFS(t))
		for i, c := range b {
			g.mem.Bytes[i%len(g.mem.Bytes)] = c
		}
		g.str(100, "tmp/a")
		g.str(1000, "tmp/b/../c")
		for len(b) > 10 {
			name := names[int(b[0])%len(names)]
			var args []uint64
			for i := range allowed[name].params {
				v := interesting[int(b[1+i])%len(interesting)]
				if b[1+i] > 200 {
					v = uint64(b[1+i] - 200)
				}
				if allowed[name].params[i] == 'i' {
					v = uint64(uint32(v))
				}
				args = append(args, v)
			}
			b = b[10:]
			g.call(name, args...)
		}
		if bytes, inodes := g.FS.Used(); bytes > g.FS.quota.Bytes || inodes > g.FS.quota.Inodes {
			t.Errorf("%d bytes and %d inodes, beyond the quota", bytes, inodes)
		}
		g.Proc.Close()
		var bytes int64
		inodes := 0
		var visit func(n *node)
		visit = func(n *node) {
			for _, c := range n.children {
				inodes++
				bytes += charge(c.size)
				visit(c)
			}
		}
		visit(g.FS.tmp)
		if b, n := g.FS.Used(); b != bytes || n != inodes {
			t.Errorf("%d bytes and %d inodes are charged, %d and %d are there", b, n, bytes, inodes)
		}
	})
}

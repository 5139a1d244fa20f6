package wasi

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
)

func newFS(t testing.TB, q Quota) *FS {
	t.Helper()
	tree, err := NewTree(map[string][]byte{"lib/a/b.txt": []byte("lib")})
	if err != nil {
		t.Fatal(err)
	}
	fs, err := NewFS(tree, map[string][]byte{"t.csv": []byte("a,b\n")}, q)
	if err != nil {
		t.Fatal(err)
	}
	return fs
}

func TestWalk(t *testing.T) {
	fs := newFS(t, Quota{Bytes: 1 << 20, Inodes: 10})
	if errno := fs.mkdir(fs.root, "tmp/d"); errno != 0 {
		t.Fatal(errno)
	}
	long := strings.Repeat("x", maxName+1)
	for _, tt := range []struct {
		path string
		dir  string // "" is the root
		errno
		found bool
	}{
		{path: "lib/a/b.txt", found: true},
		{path: "/lib/a/b.txt", found: true},
		{path: "lib//a/./b.txt", found: true},
		{path: "../../lib/a/b.txt", found: true},
		{path: "../lib/a/b.txt", dir: "tmp", found: true},
		{path: "/lib/a", dir: "tmp/d", found: true},
		{path: "../../data/t.csv", dir: "tmp/d", found: true},
		{path: "..", dir: "tmp", found: true},
		{path: "/", found: true},
		{path: ".", dir: "tmp", found: true},
		{path: "tmp/none"},
		{path: "tmp/none/../d", errno: ENOENT},
		{path: "tmp/none/x", errno: ENOENT},
		{path: "lib/a/b.txt/x", errno: ENOTDIR},
		{path: "lib/a/b.txt/", errno: ENOTDIR},
		{path: "lib/a/b.txt/..", errno: ENOTDIR},
		{path: "", errno: ENOENT},
		{path: "a\x00b", errno: EINVAL},
		{path: "\xff", errno: EILSEQ},
		{path: "tmp/" + long, errno: ENAMETOOLONG},
		{path: strings.Repeat("./", maxPath), errno: ENAMETOOLONG},
	} {
		dir := fs.root
		if tt.dir != "" {
			dir, _, _, _ = fs.walk(fs.root, tt.dir)
		}
		n, _, _, got := fs.walk(dir, tt.path)
		if got != tt.errno || (n != nil) != tt.found {
			t.Errorf("%.40q from %q: node %v, error %d; want %v, %d", tt.path, tt.dir, n != nil, got, tt.found, tt.errno)
		}
	}
}

type errno = Errno

func TestQuotaIsWhatIsHeld(t *testing.T) {
	fs := newFS(t, Quota{Bytes: 10 * block, Inodes: 4})
	open := func(path string, flags uint32) *handle {
		t.Helper()
		h, errno := fs.open(fs.root, path, flags, true, true, false)
		if errno != 0 {
			t.Fatalf("open %s: %d", path, errno)
		}
		return h
	}
	used := func(step string, bytes int64, inodes int) {
		t.Helper()
		if b, n := fs.Used(); b != bytes*block || n != inodes {
			t.Errorf("%s: %d blocks and %d inodes are charged, want %d and %d", step, b/block, n, bytes, inodes)
		}
	}
	write := func(h *handle, off int64, n int, want int, errno Errno) {
		t.Helper()
		if got, e := fs.writeAt(h.n, make([]byte, n), off); got != want || e != errno {
			t.Errorf("write of %d at %d: %d, %d; want %d, %d", n, off, got, e, want, errno)
		}
	}

	a := open("tmp/a", oCreate)
	used("empty file", 0, 1)
	write(a, 0, 1, 1, 0)
	used("one byte", 1, 1)
	write(a, 5*block, 1, 1, 0)
	used("hole", 6, 1)
	write(a, 9*block, 2*block, block, 0)
	used("cut at the quota", 10, 1)
	write(a, 10*block, 1, 0, ENOSPC)
	write(a, 1<<50, 1, 0, ENOSPC)
	b := open("tmp/b", oCreate)
	write(b, 0, 1, 0, ENOSPC)
	used("full", 10, 2)

	fs.truncate(a.n, block+1)
	used("truncated", 2, 2)
	if len(a.n.blocks) != 2 {
		t.Errorf("a truncated file keeps %d blocks", len(a.n.blocks))
	}
	fs.remove(fs.root, "tmp/a", false)
	used("removed while open", 2, 2)
	write(a, 0, 3*block, 3*block, 0)
	used("written while removed", 3, 2)
	a2 := open("tmp/a", oCreate)
	write(a2, 0, block, block, 0)
	used("new file of the same name", 4, 3)
	fs.close(a)
	used("last close", 1, 2)

	if errno := fs.rename(fs.root, "tmp/a", fs.root, "tmp/a"); errno != 0 {
		t.Errorf("onto itself: %d", errno)
	}
	used("renamed onto itself", 1, 2)
	write(b, 0, 2*block, 2*block, 0)
	fs.close(b)
	if errno := fs.rename(fs.root, "tmp/a", fs.root, "tmp/b"); errno != 0 {
		t.Errorf("onto another: %d", errno)
	}
	used("renamed onto another", 1, 1)
	fs.close(a2)
	used("closed", 1, 1)
	fs.remove(fs.root, "tmp/b", false)
	used("all removed", 0, 0)

	for i := range 4 {
		if errno := fs.mkdir(fs.root, fmt.Sprintf("tmp/%d", i)); errno != 0 {
			t.Errorf("directory %d: %d", i, errno)
		}
	}
	if errno := fs.mkdir(fs.root, "tmp/5"); errno != ENOSPC {
		t.Errorf("one directory too many: %d", errno)
	}
	if _, errno := fs.open(fs.root, "tmp/5", oCreate, true, true, false); errno != ENOSPC {
		t.Errorf("one file too many: %d", errno)
	}
}

func TestTruncatedBytesAreZero(t *testing.T) {
	fs := newFS(t, Quota{Bytes: 1 << 20, Inodes: 10})
	h, _ := fs.open(fs.root, "tmp/a", oCreate, true, true, false)
	fs.writeAt(h.n, bytes.Repeat([]byte{1}, 100), 0)
	fs.truncate(h.n, 10)
	fs.truncate(h.n, 50)
	if got := h.n.contents(); !bytes.Equal(got, append(bytes.Repeat([]byte{1}, 10), make([]byte, 40)...)) {
		t.Errorf("%v", got)
	}
}

func TestInodeNumbersAreUnique(t *testing.T) {
	fs := newFS(t, Quota{Bytes: 1 << 20, Inodes: 100})
	for i := range 10 {
		fs.mkdir(fs.root, fmt.Sprintf("tmp/%d", i))
		fs.remove(fs.root, fmt.Sprintf("tmp/%d", i/2), true)
	}
	seen := map[uint64]string{}
	var visit func(n *node, path string)
	visit = func(n *node, path string) {
		if other, ok := seen[n.ino]; ok {
			t.Errorf("%s and %s are both inode %d", path, other, n.ino)
		}
		seen[n.ino] = path
		for name, c := range n.children {
			visit(c, path+"/"+name)
		}
	}
	visit(fs.root, "")
}

func TestReadOnlyTreeRefusesEverything(t *testing.T) {
	fs := newFS(t, Quota{Bytes: 1 << 20, Inodes: 10})
	fs.mkdir(fs.root, "tmp/d")
	for what, errno := range map[string]Errno{
		"mkdir":            fs.mkdir(fs.root, "lib/x"),
		"mkdir in root":    fs.mkdir(fs.root, "x"),
		"remove":           fs.remove(fs.root, "lib/a/b.txt", false),
		"remove directory": fs.remove(fs.root, "lib/a", true),
		"remove tmp":       fs.remove(fs.root, "tmp", true),
		"rename from":      fs.rename(fs.root, "lib/a/b.txt", fs.root, "tmp/x"),
		"rename to":        fs.rename(fs.root, "tmp/d", fs.root, "data/d"),
		"rename tmp":       fs.rename(fs.root, "tmp", fs.root, "x"),
	} {
		if errno != EROFS {
			t.Errorf("%s: %d", what, errno)
		}
	}
	for _, flags := range []uint32{0, oTruncate, oCreate} {
		if _, errno := fs.open(fs.root, "data/t.csv", flags, true, flags != oTruncate, false); errno != EROFS {
			t.Errorf("open with %d: %d", flags, errno)
		}
	}
	if b, _ := fs.ReadFile("data/t.csv"); string(b) != "a,b\n" {
		t.Errorf("now it holds %q", b)
	}
}

func TestDirectoryCannotMoveIntoItself(t *testing.T) {
	fs := newFS(t, Quota{Bytes: 1 << 20, Inodes: 10})
	for _, d := range []string{"tmp/a", "tmp/a/b", "tmp/c"} {
		fs.mkdir(fs.root, d)
	}
	for _, tt := range []struct {
		from, to string
		errno
	}{
		{"tmp/a", "tmp/a/b/x", EINVAL},
		{"tmp/a", "tmp/a/x", EINVAL},
		{"tmp/c", "tmp/a", ENOTEMPTY},
		{"tmp/a", "tmp/c", 0}, // onto an empty one
		{"tmp/c/b", "tmp/b", 0},
	} {
		if got := fs.rename(fs.root, tt.from, fs.root, tt.to); got != tt.errno {
			t.Errorf("%s to %s: %d, want %d", tt.from, tt.to, got, tt.errno)
		}
	}
	if got := fs.tmp.names(); !slices.Equal(got, []string{"b", "c"}) {
		t.Errorf("tmp holds %v", got)
	}
	if n, _, _, _ := fs.walk(fs.root, "tmp/b/../c"); n == nil {
		t.Error("a moved directory does not lead back to its new parent")
	}
}

func TestRemovedDirectoryHoldsNothingNew(t *testing.T) {
	fs := newFS(t, Quota{Bytes: 1 << 20, Inodes: 10})
	fs.mkdir(fs.root, "tmp/d")
	h, errno := fs.open(fs.root, "tmp/d", oDirectory, true, false, false)
	if errno != 0 {
		t.Fatal(errno)
	}
	fs.remove(fs.root, "tmp/d", true)
	if _, errno := fs.open(h.n, "x", oCreate, true, true, false); errno != ENOENT {
		t.Errorf("file in a removed directory: %d", errno)
	}
	fs.close(h)
	if b, n := fs.Used(); b != 0 || n != 0 {
		t.Errorf("%d bytes and %d inodes are left", b, n)
	}
}

func TestWrittenFilesAreListed(t *testing.T) {
	fs := newFS(t, Quota{Bytes: 1 << 20, Inodes: 300})
	fs.NewRun()
	fs.WriteFile("tmp/old", []byte("x"))
	fs.NewRun()
	fs.mkdir(fs.root, "tmp/d")
	fs.WriteFile("tmp/d/new", []byte("xy"))
	fs.WriteFile("tmp/gone", nil)
	fs.remove(fs.root, "tmp/gone", false)
	fs.ReadFile("tmp/old")
	if got := fmt.Sprint(fs.Written()); got != "[{d/new 2}]" {
		t.Errorf("%s", got)
	}
	fs.NewRun()
	for i := range 150 {
		fs.WriteFile(fmt.Sprintf("tmp/%d", i), nil)
	}
	if got := len(fs.Written()); got != maxWritten {
		t.Errorf("%d files are listed", got)
	}
}

// FuzzFS compares the file system with a model of it: names to contents, and
// handles that keep contents alive.
func FuzzFS(f *testing.F) {
	f.Add([]byte("\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a"))
	f.Add([]byte{0, 0, 200, 1, 0, 9, 2, 0, 3, 3, 0, 1, 0, 1, 4, 0, 5, 0, 1, 1, 3, 0, 0, 6, 1, 0, 7, 0, 0})
	f.Fuzz(func(t *testing.T, ops []byte) {
		q := Quota{Bytes: 8 * block, Inodes: 5}
		fs := newFS(t, q)
		m := &model{names: map[string]*modelFile{}, q: q}
		var handles []*handle
		var files []*modelFile
		next := func() int {
			if len(ops) == 0 {
				return 0
			}
			b := ops[0]
			ops = ops[1:]
			return int(b)
		}
		for len(ops) > 0 {
			op, name, other := next()%8, fmt.Sprintf("f%d", next()%4), fmt.Sprintf("f%d", next()%4)
			size := next() * 300
			pick := -1
			if len(handles) > 0 {
				pick = size / 300 % len(handles)
			}
			var got, want Errno
			switch {
			case op == 0: // open
				var h *handle
				flags := uint32(oCreate)
				if size%2 == 1 {
					flags |= oTruncate
				}
				h, got = fs.open(fs.tmp, name, flags, true, true, false)
				var mf *modelFile
				mf, want = m.open(name, flags&oTruncate != 0)
				if got == 0 && want == 0 {
					handles, files = append(handles, h), append(files, mf)
				}
			case op == 1 && pick >= 0: // write
				data := bytes.Repeat([]byte{byte(size)}, size)
				off := int64(next()) * 150
				n, errno := fs.writeAt(handles[pick].n, data, off)
				wantN, wantErr := m.write(files[pick], data, off)
				if n != wantN {
					t.Fatalf("wrote %d, the model %d", n, wantN)
				}
				got, want = errno, wantErr
			case op == 2 && pick >= 0: // truncate
				got = fs.truncate(handles[pick].n, int64(size))
				want = m.truncate(files[pick], size)
			case op == 3:
				got, want = fs.remove(fs.tmp, name, false), m.remove(name)
			case op == 4:
				got, want = fs.rename(fs.tmp, name, fs.tmp, other), m.rename(name, other)
			case op == 5 && pick >= 0: // close
				fs.close(handles[pick])
				m.close(files[pick])
				handles, files = slices.Delete(handles, pick, pick+1), slices.Delete(files, pick, pick+1)
			case op == 6 && pick >= 0: // read
				if b := handles[pick].n.contents(); !bytes.Equal(b, files[pick].data) {
					t.Fatalf("the file holds %d bytes, the model %d, or others", len(b), len(files[pick].data))
				}
			}
			if got != want {
				t.Fatalf("operation %d: error %d, the model's %d", op, got, want)
			}
			if b, n := fs.Used(); b != m.bytes() || n != len(m.all()) {
				t.Fatalf("operation %d: %d bytes and %d inodes are charged, in the model %d and %d", op, b, n, m.bytes(), len(m.all()))
			}
		}
		for i, h := range handles {
			fs.close(h)
			m.close(files[i])
		}
		for name := range m.names {
			fs.remove(fs.tmp, name, false)
		}
		if b, n := fs.Used(); b != 0 || n != 0 {
			t.Fatalf("%d bytes and %d inodes are left of nothing", b, n)
		}
	})
}

type modelFile struct {
	data []byte
	open int
}

type model struct {
	names map[string]*modelFile
	held  []*modelFile // removed and open
	q     Quota
}

func (m *model) all() []*modelFile {
	out := slices.Clone(m.held)
	for _, f := range m.names {
		out = append(out, f)
	}
	return out
}

func (m *model) bytes() (n int64) {
	for _, f := range m.all() {
		n += charge(int64(len(f.data)))
	}
	return n
}

func (m *model) open(name string, truncate bool) (*modelFile, Errno) {
	f := m.names[name]
	if f == nil {
		if len(m.all()) >= m.q.Inodes {
			return nil, ENOSPC
		}
		f = &modelFile{}
		m.names[name] = f
	}
	if truncate {
		f.data = nil
	}
	f.open++
	return f, 0
}

func (m *model) close(f *modelFile) {
	if f.open--; f.open == 0 {
		m.held = slices.DeleteFunc(m.held, func(h *modelFile) bool { return h == f })
	}
}

func (m *model) remove(name string) Errno {
	f := m.names[name]
	if f == nil {
		return ENOENT
	}
	delete(m.names, name)
	if f.open > 0 {
		m.held = append(m.held, f)
	}
	return 0
}

func (m *model) rename(from, to string) Errno {
	f := m.names[from]
	switch {
	case f == nil:
		return ENOENT
	case from == to:
		return 0
	}
	m.remove(to)
	delete(m.names, from)
	m.names[to] = f
	return 0
}

func (m *model) truncate(f *modelFile, size int) Errno {
	if m.bytes()-charge(int64(len(f.data)))+charge(int64(size)) > m.q.Bytes && charge(int64(size)) > charge(int64(len(f.data))) {
		return ENOSPC
	}
	data := make([]byte, size)
	copy(data, f.data)
	f.data = data
	return 0
}

func (m *model) write(f *modelFile, b []byte, off int64) (int, Errno) {
	if len(b) == 0 {
		return 0, 0
	}
	room := m.q.Bytes - m.bytes() + charge(int64(len(f.data)))
	end := off + int64(len(b))
	if end > int64(len(f.data)) {
		if off >= room {
			return 0, ENOSPC
		}
		end = min(end, room)
	}
	if end > int64(len(f.data)) {
		data := make([]byte, end)
		copy(data, f.data)
		f.data = data
	}
	return copy(f.data[off:end], b), 0
}

package wasi

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// block is the unit in which files are stored and charged.
const block = 4096

// Bounds of names and of what one directory tree may look like.
const (
	maxName = 255
	maxPath = 1024
)

// Quota bounds what programs may keep in the scratch directory.
type Quota struct {
	Bytes  int64 // of file contents, in whole blocks of 4 KiB
	Inodes int   // files and directories
	Files  int   // open at once, by one guest
}

// FS is the file system of one session: read-only trees and the scratch
// directory "tmp", all in memory. Paths have no leading slash. There are no
// links of any kind and no devices.
//
// One goroutine at a time uses an FS: the session's owner. Read-only nodes are
// never changed, so file systems share them.
type FS struct {
	root *node
	tmp  *node
	data map[string]*node // what Show chooses from, by name below "data"

	quota  Quota
	bytes  int64 // charged, of Quota.Bytes
	inodes int
	lastID uint64
	run    uint64 // number of the current execution, for Written
	now    func() time.Time
}

// node is a file or a directory.
type node struct {
	ino      uint64
	dir      bool
	readOnly bool
	children map[string]*node // of a directory
	parent   *node            // nil for the root and for what was removed
	shared   []byte           // contents of a read-only file
	blocks   []*[block]byte   // contents of a scratch file; nil is a hole
	size     int64
	open     int // handles of a scratch file
	removed  bool
	mtime    int64 // nanoseconds
	run      uint64
}

// Tree is a read-only set of files that file systems share.
type Tree struct {
	files map[string]*node
	ino   uint64
}

// treeInodes is where the inode numbers of a session's own nodes start; a Tree
// numbers its nodes from 2, and the data of one session from dataInodes.
const (
	dataInodes    = 1 << 20
	sessionInodes = 1 << 21
)

// NewTree makes a tree of files by path, such as "lib/python313.zip". The
// contents are used as they are and must not change.
func NewTree(files map[string][]byte) (*Tree, error) {
	t := &Tree{files: map[string]*node{}, ino: 1}
	for _, path := range slices.Sorted(maps.Keys(files)) { // the numbers are in snapshots
		b := files[path]
		if !cleanPath(path) {
			return nil, fmt.Errorf("file %q: not a clean relative path", path)
		}
		t.ino++
		t.files[path] = &node{ino: t.ino, readOnly: true, shared: b, size: int64(len(b))}
	}
	return t, nil
}

func cleanPath(path string) bool {
	if len(path) > maxPath || !utf8.ValidString(path) || strings.ContainsRune(path, 0) {
		return false
	}
	for name := range strings.SplitSeq(path, "/") {
		if name == "" || name == "." || name == ".." || len(name) > maxName {
			return false
		}
	}
	return true
}

// NewFS makes a file system of the shared tree, of the session's own read-only
// data (by path below "data") and of an empty scratch directory.
func NewFS(shared *Tree, data map[string][]byte, q Quota) (*FS, error) {
	f := &FS{quota: q, lastID: sessionInodes, now: time.Now, data: map[string]*node{}}
	f.root = &node{ino: 1, dir: true, readOnly: true, children: map[string]*node{}}
	f.addDir(f.root, "lib").readOnly = true
	f.addDir(f.root, "data").readOnly = true
	f.tmp = f.addDir(f.root, "tmp")
	f.inodes = 0
	if shared != nil {
		for _, path := range slices.Sorted(maps.Keys(shared.files)) {
			if err := f.mount(path, shared.files[path]); err != nil {
				return nil, err
			}
		}
	}
	ino := uint64(dataInodes)
	for path, b := range data {
		if !cleanPath(path) {
			return nil, fmt.Errorf("file %q: not a clean relative path", "data/"+path)
		}
		ino++
		n := &node{ino: ino, readOnly: true, shared: b, size: int64(len(b))}
		if err := f.mount("data/"+path, n); err != nil {
			return nil, err
		}
		f.data[path] = n
	}
	return f, nil
}

// setClock takes the times of files from now, those of the directories that are
// there included.
func (f *FS) setClock(now func() time.Time) {
	f.now = now
	var walk func(n *node)
	walk = func(n *node) {
		n.mtime = now().UnixNano()
		for _, c := range n.children {
			if c.dir { // a file may be shared with others
				walk(c)
			}
		}
	}
	walk(f.root)
}

// mount puts a read-only file at path, with its directories.
func (f *FS) mount(path string, n *node) error {
	dir := f.root
	names := strings.Split(path, "/")
	for _, name := range names[:len(names)-1] {
		next := dir.children[name]
		if next == nil {
			next = f.addDir(dir, name)
			next.readOnly = true
			f.inodes--
		}
		if !next.dir || !next.readOnly {
			return fmt.Errorf("file %q: %q is not a read-only directory", path, name)
		}
		dir = next
	}
	name := names[len(names)-1]
	if dir.children[name] != nil || dir == f.root {
		return fmt.Errorf("file %q: the name is taken", path)
	}
	dir.children[name] = n
	return nil
}

// addDir adds a directory without looking at any quota.
func (f *FS) addDir(parent *node, name string) *node {
	n := f.newNode(parent)
	n.dir, n.children = true, map[string]*node{}
	parent.children[name] = n
	return n
}

func (f *FS) newNode(parent *node) *node {
	f.lastID++
	f.inodes++
	return &node{ino: f.lastID, parent: parent, mtime: f.now().UnixNano(), run: f.run}
}

// walk finds path from dir. It returns the node, nil when only the last name
// does not exist, with the directory that holds or would hold it and the name
// there, "" when the path names dir itself or goes up.
func (f *FS) walk(dir *node, path string) (n, parent *node, name string, errno Errno) {
	if len(path) > maxPath {
		return nil, nil, "", ENAMETOOLONG
	}
	if !utf8.ValidString(path) {
		return nil, nil, "", EILSEQ
	}
	if path == "" {
		return nil, nil, "", ENOENT
	}
	if strings.IndexByte(path, 0) >= 0 {
		return nil, nil, "", EINVAL
	}
	if path[0] == '/' {
		dir = f.root
	}
	if dir.removed {
		return nil, nil, "", ENOENT
	}
	n = dir
	rest := strings.Trim(path, "/")
	for rest != "" {
		var part string
		part, rest, _ = strings.Cut(rest, "/")
		switch {
		case n == nil:
			return nil, nil, "", ENOENT
		case !n.dir:
			return nil, nil, "", ENOTDIR
		case part == "" || part == ".":
			parent, name = nil, ""
			continue
		case part == "..":
			if n.parent != nil {
				n = n.parent
			}
			parent, name = nil, ""
			continue
		case len(part) > maxName:
			return nil, nil, "", ENAMETOOLONG
		}
		parent, name = n, part
		n = n.children[part]
	}
	if n != nil && !n.dir && strings.HasSuffix(path, "/") {
		return nil, nil, "", ENOTDIR
	}
	return n, parent, name, 0
}

// create makes a file in parent.
func (f *FS) create(parent *node, name string) (*node, Errno) {
	if errno := f.mayAdd(parent, name); errno != 0 {
		return nil, errno
	}
	n := f.newNode(parent)
	parent.children[name] = n
	parent.mtime = n.mtime
	return n, 0
}

func (f *FS) mkdir(dir *node, path string) Errno {
	n, parent, name, errno := f.walk(dir, path)
	if errno != 0 {
		return errno
	}
	if n != nil {
		return EEXIST
	}
	if errno := f.mayAdd(parent, name); errno != 0 {
		return errno
	}
	parent.mtime = f.addDir(parent, name).mtime
	return 0
}

func (f *FS) mayAdd(parent *node, name string) Errno {
	switch {
	case name == "":
		return EEXIST
	case parent.readOnly:
		return EROFS
	case f.inodes >= f.quota.Inodes:
		return ENOSPC
	}
	return 0
}

// remove takes a file (dir false) or an empty directory out of the tree.
func (f *FS) remove(from *node, path string, dir bool) Errno {
	n, parent, name, errno := f.walk(from, path)
	switch {
	case errno != 0:
		return errno
	case n == nil:
		return ENOENT
	case name == "":
		return EBUSY
	case parent.readOnly:
		return EROFS
	case dir && !n.dir:
		return ENOTDIR
	case !dir && n.dir:
		return EISDIR
	case dir && len(n.children) > 0:
		return ENOTEMPTY
	}
	f.unlink(parent, name, n)
	return 0
}

// unlink forgets n under name. Its contents and its inode stay charged while
// somebody has it open.
func (f *FS) unlink(parent *node, name string, n *node) {
	delete(parent.children, name)
	parent.mtime = f.now().UnixNano()
	n.parent, n.removed = nil, true
	f.release(n)
}

// release refunds what a removed node held once nobody has it open.
func (f *FS) release(n *node) {
	if !n.removed || n.open > 0 {
		return
	}
	f.bytes -= charge(n.size)
	n.blocks, n.size = nil, 0
	f.inodes--
}

// rename moves a file or a directory within the scratch directory.
func (f *FS) rename(fromDir *node, from string, toDir *node, to string) Errno {
	n, parent, name, errno := f.walk(fromDir, from)
	switch {
	case errno != 0:
		return errno
	case n == nil:
		return ENOENT
	case name == "":
		return EBUSY
	case parent.readOnly:
		return EROFS
	}
	old, newParent, newName, errno := f.walk(toDir, to)
	switch {
	case errno != 0:
		return errno
	case newName == "":
		return EBUSY
	case newParent.readOnly:
		return EROFS
	case old == n: // onto itself
		return 0
	case !n.dir && strings.HasSuffix(to, "/"):
		return ENOTDIR
	case n.dir && n.holds(newParent):
		return EINVAL
	case old != nil && old.dir && !n.dir:
		return EISDIR
	case old != nil && !old.dir && n.dir:
		return ENOTDIR
	case old != nil && len(old.children) > 0:
		return ENOTEMPTY
	}
	if old != nil {
		f.unlink(newParent, newName, old)
	}
	delete(parent.children, name)
	newParent.children[newName] = n
	n.parent = newParent
	n.run = f.run
	parent.mtime = f.now().UnixNano()
	newParent.mtime = parent.mtime
	return 0
}

// holds says whether other is n or below it.
func (n *node) holds(other *node) bool {
	for ; other != nil; other = other.parent {
		if other == n {
			return true
		}
	}
	return false
}

// names lists a directory in order.
func (n *node) names() []string {
	out := make([]string, 0, len(n.children))
	for name := range n.children {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

package pluginlock

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"syscall"
	"time"
)

// Stamp tells one content of a file from another without reading it.
type Stamp struct {
	Dev, Inode    uint64
	Size          int64
	MTime, Change int64 // nanoseconds since 1970: of the content, and of anything about the file
}

// StampOf is the stamp of a file that was looked at.
func StampOf(info fs.FileInfo) Stamp {
	s := Stamp{Size: info.Size(), MTime: info.ModTime().UnixNano()}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		s.Dev, s.Inode, s.Change = uint64(st.Dev), uint64(st.Ino), changeTime(st)
	}
	return s
}

// settled is how old the last change of a file must be before its stamp can
// stand for its content: a change within one tick of the kernel's clock, at
// most 10 ms, leaves no trace in it.
const settled = 30 * time.Millisecond

// sums remembers digests by stamp, for the whole process: a plugin's program is
// read once, not at each start.
var sums = cache{known: make(map[Stamp]string)}

const maxSums = 1 << 16

type cache struct {
	mu    sync.Mutex
	known map[Stamp]string
}

func (c *cache) find(s Stamp) (string, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	sum, ok := c.known[s]
	return sum, ok
}

func (c *cache) add(s Stamp, sum string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.known) >= maxSums {
		clear(c.known)
	}
	c.known[s] = sum
}

func changing(f *os.File) error {
	return fmt.Errorf("%s changes while it is read; try again when nothing writes to it", f.Name())
}

// Sum is the SHA-256 of an open regular file, in hex, and the stamp under which
// it has that content. A file whose stamp is known is not read again.
func Sum(f *os.File) (string, Stamp, error) {
	return sum(f, io.Discard)
}

// sum is Sum that also writes what it reads to w; with a w it always reads.
func sum(f *os.File, w io.Writer) (string, Stamp, error) {
	before, err := settle(f)
	if err != nil {
		return "", Stamp{}, err
	}
	if w == io.Discard {
		if sum, ok := sums.find(before); ok {
			return sum, before, nil
		}
	}
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(h, w), io.NewSectionReader(f, 0, MaxFile+1))
	if err != nil {
		return "", Stamp{}, err
	}
	after, err := f.Stat()
	if err != nil {
		return "", Stamp{}, err
	}
	if StampOf(after) != before || n != before.Size {
		return "", Stamp{}, changing(f)
	}
	digest := hex.EncodeToString(h.Sum(nil))
	sums.add(before, digest)
	return digest, before, nil
}

// settle returns the stamp of f once its last change lies far enough back.
func settle(f *os.File) (Stamp, error) {
	var s Stamp
	for range 3 {
		info, err := f.Stat()
		if err != nil {
			return s, err
		}
		if !info.Mode().IsRegular() {
			return s, fmt.Errorf("%s is not a regular file", f.Name())
		}
		if info.Size() > MaxFile {
			return s, fmt.Errorf("%s is longer than %d MiB", f.Name(), MaxFile>>20)
		}
		s = StampOf(info)
		age := time.Since(time.Unix(0, s.Change))
		if age >= settled || age < -time.Second { // the second: the clock was set back
			return s, nil
		}
		time.Sleep(settled - max(age, 0))
	}
	return s, changing(f)
}

// Unchanged reports whether f still has the content it had under the stamp s.
// Links and permissions may have changed.
func Unchanged(f *os.File, s Stamp) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	now := StampOf(info)
	if now == s {
		return nil
	}
	if want, ok := sums.find(s); ok && now.Size == s.Size && now.MTime == s.MTime {
		if got, _, err := Sum(f); err == nil && got == want {
			return nil
		}
	}
	return fmt.Errorf("%s was changed while it was started", f.Name())
}

package tables

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// What the file of dead letters may hold. What comes after that is only
// counted: a program that writes nothing but poison must not fill the disk.
const (
	maxLetters     = 10_000
	maxLetterBytes = 64 << 20
)

// letter is a row that no table can take: nobody can decode it, its table does
// not exist, or its values do not fit. Trying again would not help.
type letter struct {
	Seq    uint64    `json:"seq"` // in the ledger
	ID     string    `json:"id"`
	Table  string    `json:"table"`
	Reason string    `json:"reason"`
	Time   time.Time `json:"time"`
	Body   []byte    `json:"body"` // in base64
}

// deadLetters is a file of letters, a line of JSON each. A letter is in it
// once, however often its record is read.
type deadLetters struct {
	file string
	out  *slog.Logger

	mu      sync.Mutex
	known   map[uint64]bool
	size    int64
	dropped int
}

// openDead reads the file in dir, which need not exist, and cuts off what a
// crash left half-written.
func openDead(dir string, out *slog.Logger) (*deadLetters, error) {
	d := &deadLetters{file: filepath.Join(dir, "letters.jsonl"), out: out, known: map[uint64]bool{}}
	f, err := os.OpenFile(d.file, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return d, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r := bufio.NewReaderSize(f, 64<<10)
	for {
		line, err := r.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return d, f.Truncate(d.size)
		}
		if err != nil {
			return nil, err
		}
		var l letter
		if json.Unmarshal(line, &l) == nil {
			d.known[l.Seq] = true
		}
		d.size += int64(len(line))
	}
}

// write adds the letters that are not in the file, on the disk when it
// returns.
func (d *deadLetters) write(letters []letter) error {
	if len(letters) == 0 {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	var b bytes.Buffer
	var added []letter
	dropped := 0
	for _, l := range letters {
		if d.known[l.Seq] {
			continue
		}
		line, err := json.Marshal(l)
		if err != nil {
			return fmt.Errorf("dead letter: %w", err)
		}
		if len(d.known)+len(added) >= maxLetters || d.size+int64(b.Len()+len(line)) >= maxLetterBytes {
			dropped++
			continue
		}
		b.Write(append(line, '\n'))
		added = append(added, l)
	}
	if err := d.append(b.Bytes()); err != nil {
		return fmt.Errorf("dead letter: %w", err)
	}
	for _, l := range added {
		d.known[l.Seq] = true
		d.out.Error("a row cannot be put into its table and was set aside", "table", l.Table, "id", l.ID, "record", l.Seq, "reason", l.Reason, "file", d.file)
	}
	if d.dropped += dropped; dropped > 0 {
		d.out.Error("rows cannot be put into their tables, and the file for such is full: they are given up", "rows", dropped, "first", letters[0].ID, "file", d.file)
	}
	return nil
}

// append adds data to the file, or nothing.
func (d *deadLetters) append(data []byte) (err error) {
	if len(data) == 0 {
		return nil
	}
	if err := makePrivate(filepath.Dir(d.file)); err != nil {
		return err
	}
	f, err := os.OpenFile(d.file, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	at := min(d.size, info.Size()) // somebody may have emptied it
	if err = f.Truncate(at); err == nil {
		_, err = f.WriteAt(data, at)
	}
	if err == nil {
		err = f.Sync()
	}
	if err == nil && at == 0 {
		err = syncDir(filepath.Dir(d.file))
	}
	if err != nil {
		return errors.Join(err, f.Truncate(at))
	}
	d.size = at + int64(len(data))
	return nil
}

// counts is how many letters there are, and how many were given up.
func (d *deadLetters) counts() (kept, dropped int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.known), d.dropped
}

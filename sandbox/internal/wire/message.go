package wire

import (
	"fmt"
	"time"
)

// Setup tells a worker what to load. Only loading uses the directories.
type Setup struct {
	Guests, Cache string
	Languages     []string
	Memory        int64 // bytes of each guest's memory at most
}

// Ready says that a worker has loaded its guests, or those that it could.
type Ready struct {
	Languages []string
	Broken    []Broken
	Load      time.Duration
}

// Broken is a guest that could not be loaded.
type Broken struct{ Language, Why string }

// Open begins a session. The descriptors of its tables come beside: Database,
// then CSV of each.
type Open struct {
	Trusted bool // of the process that uses the sandbox; no model code ever runs in it
	Limits  Limits
	Tables  []Table
}

// Limits of a session, all of them positive.
type Limits struct {
	Memory, Scratch  int64
	Inodes, Output   int64
	Wall, CPU, Grace time.Duration
}

// Table describes a table of a session.
type Table struct {
	Name          string
	Columns       []Column
	Rows          int64
	Cut           bool
	Database, CSV bool // there is a descriptor
}

// Column of a Table.
type Column struct{ Name, Type string }

// Exec is a program to run.
type Exec struct {
	Language, Code string
	Wall           time.Duration
	Some           bool // Tables are those the program sees; otherwise all
	Tables         []string
}

// Result is what a program did.
type Result struct {
	Stdout, Stderr      string
	Columns             []string
	Rows                [][]any // nil, bool, json.Number, string
	Exit                int
	Killed, Interrupted string
	Truncated           bool
	Files               []File
	Duration, CPU       time.Duration
}

// File that a program wrote.
type File struct {
	Name string
	Size int64
}

// Encode makes the body of a message.
func (m Setup) Encode() []byte {
	var w writer
	w.str(m.Guests)
	w.str(m.Cache)
	w.strs(m.Languages)
	w.int(m.Memory)
	return w.b
}

// Decode reads what Encode made.
func (m *Setup) Decode(b []byte) error {
	r := reader{b: b}
	*m = Setup{Guests: r.str(), Cache: r.str(), Languages: r.strs(), Memory: r.int()}
	return r.end("setup")
}

// Encode makes the body of a message.
func (m Ready) Encode() []byte {
	var w writer
	w.strs(m.Languages)
	w.len(len(m.Broken))
	for _, g := range m.Broken {
		w.str(g.Language)
		w.str(g.Why)
	}
	w.int(int64(m.Load))
	return w.b
}

// Decode reads what Encode made.
func (m *Ready) Decode(b []byte) error {
	r := reader{b: b}
	*m = Ready{Languages: r.strs()}
	r.items(func() { m.Broken = append(m.Broken, Broken{Language: r.str(), Why: r.str()}) })
	m.Load = time.Duration(r.int())
	return r.end("ready")
}

// Encode makes the body of a message.
func (m Open) Encode() []byte {
	var w writer
	w.bool(m.Trusted)
	for _, v := range []int64{m.Limits.Memory, m.Limits.Scratch, m.Limits.Inodes, m.Limits.Output, int64(m.Limits.Wall), int64(m.Limits.CPU), int64(m.Limits.Grace)} {
		w.int(v)
	}
	w.len(len(m.Tables))
	for _, t := range m.Tables {
		w.str(t.Name)
		w.len(len(t.Columns))
		for _, c := range t.Columns {
			w.str(c.Name)
			w.str(c.Type)
		}
		w.int(t.Rows)
		w.bool(t.Cut)
		w.bool(t.Database)
		w.bool(t.CSV)
	}
	return w.b
}

// Decode reads what Encode made.
func (m *Open) Decode(b []byte) error {
	r := reader{b: b}
	*m = Open{Trusted: r.bool(), Limits: Limits{
		Memory: r.int(), Scratch: r.int(), Inodes: r.int(), Output: r.int(),
		Wall: time.Duration(r.int()), CPU: time.Duration(r.int()), Grace: time.Duration(r.int()),
	}}
	r.items(func() {
		t := Table{Name: r.str()}
		r.items(func() { t.Columns = append(t.Columns, Column{Name: r.str(), Type: r.str()}) })
		t.Rows, t.Cut, t.Database, t.CSV = r.int(), r.bool(), r.bool(), r.bool()
		m.Tables = append(m.Tables, t)
	})
	return r.end("open")
}

// Encode makes the body of a message.
func (m Exec) Encode() []byte {
	w := writer{b: make([]byte, 0, len(m.Code)+64)}
	w.str(m.Language)
	w.str(m.Code)
	w.int(int64(m.Wall))
	w.bool(m.Some)
	w.strs(m.Tables)
	return w.b
}

// Decode reads what Encode made.
func (m *Exec) Decode(b []byte) error {
	r := reader{b: b}
	*m = Exec{Language: r.str(), Code: r.str(), Wall: time.Duration(r.int()), Some: r.bool(), Tables: r.strs()}
	return r.end("exec")
}

// Encode makes the body of a message. It fails when a row holds a value of a
// type that the wire does not have.
func (m Result) Encode() ([]byte, error) {
	w := writer{b: make([]byte, 0, len(m.Stdout)+len(m.Stderr)+128)}
	w.str(m.Stdout)
	w.str(m.Stderr)
	w.strs(m.Columns)
	w.len(len(m.Rows))
	for _, row := range m.Rows {
		w.values(row)
	}
	w.int(int64(m.Exit))
	w.str(m.Killed)
	w.str(m.Interrupted)
	w.bool(m.Truncated)
	w.len(len(m.Files))
	for _, f := range m.Files {
		w.str(f.Name)
		w.int(f.Size)
	}
	w.int(int64(m.Duration))
	w.int(int64(m.CPU))
	return w.b, w.err
}

// Decode reads what Encode made.
func (m *Result) Decode(b []byte) error {
	r := reader{b: b}
	*m = Result{Stdout: r.str(), Stderr: r.str(), Columns: r.strs()}
	r.items(func() { m.Rows = append(m.Rows, r.values()) })
	m.Exit, m.Killed, m.Interrupted, m.Truncated = int(r.int()), r.str(), r.str(), r.bool()
	r.items(func() { m.Files = append(m.Files, File{Name: r.str(), Size: r.int()}) })
	m.Duration, m.CPU = time.Duration(r.int()), time.Duration(r.int())
	if err := r.end("result"); err != nil {
		return err
	}
	if m.Duration < 0 || m.CPU < 0 {
		return fmt.Errorf("%w: result: negative times", ErrMalformed)
	}
	return nil
}

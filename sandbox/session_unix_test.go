//go:build unix

package sandbox

import (
	"context"
	"errors"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestProgramsKeepState(t *testing.T) {
	b := box(t, allLanguages)
	s := open(t, b, "alice")
	if r := run(t, s, "set a 1\nprint hello\ncomplain oh"); r.Stdout != "hello\n" || r.Stderr != "oh\n" || r.Exit != 0 || r.Lost != "" || r.Duration <= 0 {
		t.Errorf("first: %+v", r)
	}
	if r := run(t, s, "get a\nwrite tmp/x.txt abc\nfail"); r.Stdout != "1\n" || r.Exit != 1 || len(r.Files) != 1 || r.Files[0] != (File{"x.txt", 3}) {
		t.Errorf("second: %+v", r)
	}
	if r, err := s.Exec(t.Context(), Program{Language: Python, Code: "get a\ncat tmp/x.txt"}); err != nil || r.Stdout != "\nabc" {
		t.Errorf("another language: %+v, %v", r, err)
	}
	other := open(t, b, "alice")
	if r := run(t, other, "get a\ncat tmp/x.txt"); r.Stdout != "\n" || r.Exit != 1 {
		t.Errorf("another session: %+v", r)
	}
}

func TestProgramsEndAtTheirLimits(t *testing.T) {
	b := box(t, func(c *Config, _ *tuning) {
		c.Limits = Limits{Wall: 5 * time.Minute, CPU: 300 * time.Millisecond, Grace: time.Millisecond, Memory: 64 << 20, Output: 1 << 10}
	})
	for _, tt := range []struct {
		code   string
		wall   time.Duration
		killed string
	}{
		{"loop", 0, "cpu"},
		{"loop", time.Millisecond, "time"},
		{"sleep 3600000", time.Millisecond, "time"},
		{"crash", 0, "crash"},
		{"exit 3", 0, "exit"},
	} {
		t.Run(tt.code, func(t *testing.T) {
			s := open(t, b, "alice")
			run(t, s, "set a 1\nwrite tmp/kept 1")
			r, err := s.Exec(t.Context(), Program{Language: Shell, Code: tt.code, Wall: tt.wall})
			if err != nil || r.Killed != tt.killed {
				t.Errorf("%+v, %v; want killed %q", r, err, tt.killed)
			}
			if r := run(t, s, "get a\ncat tmp/kept"); r.Stdout != "\n1" || r.Exit != 0 {
				t.Errorf("after it: %+v, want new variables and the same files", r)
			}
		})
	}
	s := open(t, b, "alice")
	if r := run(t, s, "flood 100"); !r.Truncated || len(r.Stdout) > 1<<10 || r.Killed != "" {
		t.Errorf("flood: %d bytes, %+v", len(r.Stdout), r)
	}
	if r := run(t, s, "keep 1000"); r.Killed == "" {
		t.Errorf("keep: %+v, want a guest that ends", r)
	}
}

func TestProgramsThatAreNone(t *testing.T) {
	b := box(t, nil)
	s := open(t, b, "alice")
	for _, code := range []string{"print \x00", strings.Repeat("x", MaxCode+1)} {
		if r := run(t, s, code); r.Exit != 1 || r.Stderr == "" {
			t.Errorf("%.10q: %+v", code, r)
		}
	}
	if r := run(t, s, strings.Repeat("#", MaxCode)); r.Exit != 0 { // of many frames
		t.Errorf("largest program: %+v", r)
	}
	if _, err := s.Exec(t.Context(), Program{Language: "cobol"}); !errors.Is(err, ErrNoGuests) {
		t.Errorf("language without a guest: %v", err)
	}
	if _, err := s.Exec(t.Context(), Program{Language: Shell, Tables: []string{"main.a.b"}}); err == nil {
		t.Error("a table that the session does not have was accepted")
	}
}

// memoryTable makes the files of a table that hold its name.
func memoryTable(t testing.TB, name string) Table {
	t.Helper()
	table := Table{Name: name, Columns: []Column{{"a", "STRING"}}, Rows: 1}
	for _, f := range []struct {
		at   **os.File
		text string
	}{{&table.Database, "db of " + name}, {&table.CSV, "csv of " + name}} {
		m, err := newMemfile(name)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { m.Close() })
		if _, err := m.WriteString(f.text); err != nil {
			t.Fatal(err)
		}
		if err := seal(m); err != nil {
			t.Fatal(err)
		}
		*f.at = m
	}
	return table
}

func TestTablesOfASession(t *testing.T) {
	b := box(t, nil)
	loose := memoryTable(t, "main.sales.loose")
	var err error
	if loose.CSV, err = newNameless(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { loose.CSV.Close() })
	if _, err := loose.CSV.WriteString("not sealed"); err != nil {
		t.Fatal(err)
	}
	var tables []Table
	for _, name := range []string{"main.sales.a", "main.sales.b", "main.sales.c", "main.sales.d", "main.sales.e", "main.sales.f", "main.sales.g", "main.sales.h", "main.sales.i"} {
		tables = append(tables, memoryTable(t, name))
	}
	s := open(t, b, "alice", append(tables, loose)...)
	r := run(t, s, "cat data/main.sales.a.db\nprint\ncat data/main.sales.i.csv\nprint\ncat data/main.sales.loose.csv")
	if want := "db of main.sales.a\ncsv of main.sales.i\nnot sealed"; r.Stdout != want {
		t.Errorf("%+v, want %q", r, want)
	}
	if r := run(t, s, "write data/main.sales.a.db x"); r.Exit == 0 {
		t.Errorf("a table was written to: %+v", r)
	}
	r, err = s.Exec(t.Context(), Program{Language: Shell, Code: "cat data/main.sales.b.db\ncat data/main.sales.a.db", Tables: []string{"main.sales.b"}})
	if err != nil || r.Stdout != "db of main.sales.b" || r.Exit != 1 {
		t.Errorf("program with one table: %+v, %v", r, err)
	}
	if r := run(t, open(t, b, "alice"), "cat data/main.sales.a.db"); r.Exit != 1 {
		t.Errorf("session without tables: %+v", r)
	}

	// A table whose file is closed costs its session, not the worker.
	gone := memoryTable(t, "main.sales.gone")
	gone.CSV.Close()
	if _, err := open(t, b, "alice", append(tables, gone)...).Exec(t.Context(), Program{Language: Shell}); err == nil {
		t.Error("session with a closed file runs")
	}
	if r := run(t, s, "cat data/main.sales.c.db"); r.Stdout != "db of main.sales.c" || r.Lost != "" {
		t.Errorf("afterwards: %+v", r)
	}
	if _, err := b.Open(t.Context(), "alice", append(tables, tables[0])); err == nil {
		t.Error("a table was accepted twice")
	}
}

func TestCallsOfOneSessionWaitForEachOther(t *testing.T) {
	b := box(t, nil)
	s := open(t, b, "alice")
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if r := run(t, s, "work 1000\nset a x"); r.Exit != 0 || r.Killed != "" {
				t.Errorf("%+v", r)
			}
		})
	}
	all.Wait()
}

func TestTheCallerStopsAProgram(t *testing.T) {
	b := box(t, func(c *Config, _ *tuning) { c.Limits.Grace = time.Millisecond })
	started := func() bool {
		for p := range b.procs {
			if len(p.calls) > 0 {
				return true
			}
		}
		return false
	}
	for _, code := range []string{"loop", "sleep 3600000"} {
		s := open(t, b, "alice")
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() {
			_, err := s.Exec(ctx, Program{Language: Shell, Code: code})
			done <- err
		}()
		until(t, b, "a program that runs", started)
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", code, err)
		}
		if r := run(t, s, "print on"); r.Stdout != "on\n" {
			t.Errorf("%s: afterwards %+v", code, r)
		}
		go func() {
			_, err := s.Exec(t.Context(), Program{Language: Shell, Code: code})
			done <- err
		}()
		until(t, b, "a program that runs", started)
		s.Close()
		s.Close()
		if err := <-done; !errors.Is(err, ErrClosed) {
			t.Errorf("%s: closed: %v", code, err)
		}
		if _, err := s.Exec(t.Context(), Program{Language: Shell}); !errors.Is(err, ErrClosed) {
			t.Errorf("%s: after Close: %v", code, err)
		}
	}
}

func TestASleeperLetsOthersRun(t *testing.T) {
	b := box(t, func(c *Config, _ *tuning) { c.Workers = 1 })
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	sleepers := []*Session{open(t, b, "alice"), open(t, b, "bob")}
	for _, s := range sleepers {
		all.Go(func() {
			if _, err := s.Exec(ctx, Program{Language: Shell, Code: "sleep 3600000"}); !errors.Is(err, context.Canceled) {
				t.Errorf("sleeper: %v", err)
			}
		})
	}
	for range 3 {
		s := open(t, b, "carol")
		if r := run(t, s, "sleep 30\nprint awake\nsleep 30\nprint again"); r.Stdout != "awake\nagain\n" {
			t.Errorf("%+v", r)
		}
	}
	cancel()
	all.Wait()
	allLeft(t, b, 1)
}

// A worker that does not keep to a deadline is ended.
func TestAWorkerThatDoesNotAnswer(t *testing.T) {
	b := box(t, func(c *Config, tune *tuning) {
		c.Start, c.Limits.Grace, tune.answer = startAs("deaf"), time.Millisecond, time.Millisecond
	})
	s := open(t, b, "alice")
	r, err := s.Exec(t.Context(), Program{Language: Shell, Wall: time.Millisecond})
	if err != nil || r.Killed != "time" || r.Exit != 137 {
		t.Errorf("%+v, %v", r, err)
	}
	// The caller does not wait for it either.
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		until(t, b, "a call", func() bool { return s.busy && s.at != nil && len(s.at.calls) > 0 })
		cancel()
	}()
	if _, err := s.Exec(ctx, Program{Language: Shell}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

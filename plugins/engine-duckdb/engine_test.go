//go:build cgo

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/engine"
)

// endless runs until somebody stops it. Its second table fits into memory, so
// that time is what runs out.
const endless = "SELECT sum(a.range * b.range) FROM range(100000000) a, range(10000) b"

func TestLimits(t *testing.T) {
	t.Parallel()
	e := testEngine(t, config{})
	tests := []struct {
		rule string
		q    engine.Query
		code apierror.Code
		text string
	}{
		{"one value of a gigabyte", engine.Query{SQL: "SELECT repeat('x', 1000000000)", Wall: 20 * time.Second}, apierror.Invalid, "more memory"},
		{"length of a gigabyte", engine.Query{SQL: "SELECT length(repeat('x', 1000000000))", Wall: 20 * time.Second}, apierror.Invalid, "more memory"},
		{"a list that grows", engine.Query{SQL: "SELECT list(repeat('x', 1000)) FROM range(100000000)", Wall: 20 * time.Second}, apierror.Invalid, "more memory"},
		{"a large sort", engine.Query{SQL: "SELECT hash(range) h, repeat('y', 100) FROM range(100000000) ORDER BY h", MaxMemory: 64 << 20, Wall: 20 * time.Second}, apierror.Invalid, "more memory"},
		{"a cross join", engine.Query{SQL: endless, Wall: 300 * time.Millisecond}, apierror.Invalid, "longer than 300ms"},
		{"recursion without end", engine.Query{SQL: "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r) SELECT sum(n) FROM r", Wall: 300 * time.Millisecond}, apierror.Invalid, "longer than 300ms"},
		{"one call without end", engine.Query{SQL: "SELECT md5(repeat('x', 300000000)) FROM range(1000)", Wall: 300 * time.Millisecond, MaxMemory: 1 << 30}, apierror.Invalid, "longer than 300ms"},
		{"one row above the bytes", engine.Query{SQL: "SELECT repeat('x', 2000000)"}, apierror.Invalid, "One row of the result"},
		{"negative limit", engine.Query{SQL: "SELECT 1", MaxRows: -1}, apierror.Invalid, "negative"},
		{"too little memory", engine.Query{SQL: "SELECT 1", MaxMemory: 1}, apierror.Invalid, "below 64 MiB"},
	}
	for _, tt := range tests {
		t.Run(tt.rule, func(t *testing.T) {
			t.Parallel()
			b, err := all(t.Context(), e, tt.q)
			if err == nil {
				t.Fatalf("no error, %d rows", len(b.Rows))
			}
			wantCode(t, err, tt.code, tt.text)
		})
	}
}

func TestResultIsCut(t *testing.T) {
	t.Parallel()
	e := testEngine(t, config{})
	tests := []struct {
		q         engine.Query
		rows      int
		truncated bool
	}{
		{engine.Query{SQL: "SELECT * FROM range(1000)"}, 1000, false},
		{engine.Query{SQL: "SELECT * FROM range(1001)"}, 1000, true},
		{engine.Query{SQL: "SELECT * FROM range(100000000000)"}, 1000, true},
		{engine.Query{SQL: "SELECT * FROM range(5)", MaxRows: 3}, 3, true},
		{engine.Query{SQL: "SELECT * FROM range(0)"}, 0, false},
		{engine.Query{SQL: "SELECT * FROM range(10000)", MaxRows: 10000}, 10000, false},
		{engine.Query{SQL: "SELECT repeat('x', 96) FROM range(10000)", MaxRows: 10000, MaxBytes: 1000}, 10, true},
	}
	for _, tt := range tests {
		first := true
		got := engine.Batch{}
		for b, err := range e.Query(t.Context(), tt.q) {
			if err != nil {
				t.Fatalf("%s: %v", tt.q.SQL, err)
			}
			if first && len(b.Columns) != 1 {
				t.Errorf("%s: the first batch has %d columns, want 1", tt.q.SQL, len(b.Columns))
			}
			size := 0
			for _, r := range b.Rows {
				size += len(r)
			}
			if size > batchBytes {
				t.Errorf("%s: a batch of %d bytes, want at most %d", tt.q.SQL, size, batchBytes)
			}
			first = false
			got.Rows = append(got.Rows, b.Rows...)
			got.Truncated = got.Truncated || b.Truncated
		}
		if len(got.Rows) != tt.rows || got.Truncated != tt.truncated {
			t.Errorf("%s: %d rows, truncated %t, want %d, %t", tt.q.SQL, len(got.Rows), got.Truncated, tt.rows, tt.truncated)
		}
	}
}

// children are the processes that this one has started and not yet reaped.
func children(t *testing.T) []int {
	t.Helper()
	var pids []int
	tasks, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil || len(tasks) == 0 {
		t.Fatalf("no list of children: %v", err)
	}
	for _, f := range tasks {
		b, err := os.ReadFile(f)
		if err != nil {
			continue // the thread has ended
		}
		for _, s := range strings.Fields(string(b)) {
			pid, err := strconv.Atoi(s)
			if err != nil {
				t.Fatal(err)
			}
			pids = append(pids, pid)
		}
	}
	return pids
}

func TestCancelKillsTheChild(t *testing.T) {
	e := testEngine(t, config{Cold: true})
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error)
	go func() {
		_, err := all(ctx, e, engine.Query{SQL: endless})
		result <- err
	}()
	for len(children(t)) == 0 {
		time.Sleep(time.Millisecond)
	}
	cancel()
	wantCode(t, <-result, apierror.Canceled, "canceled")
	if left := children(t); len(left) > 0 {
		t.Errorf("children %v are left after the query returned", left)
	}
}

func TestReaderLeaves(t *testing.T) {
	e := testEngine(t, config{Cold: true})
	for range e.Query(t.Context(), engine.Query{SQL: "SELECT * FROM range(100000000000)", MaxRows: 1 << 30, MaxBytes: 1 << 25}) {
		break
	}
	if left := children(t); len(left) > 0 {
		t.Errorf("children %v are left after the reader left", left)
	}
}

func TestChildKilledFromOutside(t *testing.T) {
	e := testEngine(t, config{Cold: true})
	result := make(chan error)
	go func() {
		_, err := all(t.Context(), e, engine.Query{SQL: endless})
		result <- err
	}()
	var pids []int
	for len(pids) == 0 {
		time.Sleep(time.Millisecond)
		pids = children(t)
	}
	if err := syscall.Kill(pids[0], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	wantCode(t, <-result, apierror.Unavailable, "")
	if got, err := all(t.Context(), e, engine.Query{SQL: "SELECT 1"}); err != nil || rows(got) != "[1]" {
		t.Errorf("next query: %s, %v", rows(got), err)
	}
}

// A spare child that died while it waited costs no query.
func TestSpareKilled(t *testing.T) {
	e := testEngine(t, config{})
	for range 3 {
		if _, err := all(t.Context(), e, engine.Query{SQL: "SELECT 1"}); err != nil {
			t.Fatal(err)
		}
		p := waitSpare(e)
		p.kill()
	}
	if _, err := all(t.Context(), e, engine.Query{SQL: "SELECT 1"}); err != nil {
		t.Fatal(err)
	}
}

// waitSpare waits until a spare child is ready, and leaves it in its place.
func waitSpare(e *duckEngine) *process {
	for {
		e.mu.Lock()
		p := e.spare
		e.mu.Unlock()
		if p != nil {
			return p
		}
		time.Sleep(time.Millisecond)
	}
}

func TestNothingLeaks(t *testing.T) {
	e := newEngine(config{})
	rel := reviews(t, t.TempDir())
	q := engine.Query{SQL: "SELECT count(*) FROM main.sales.reviews", Relations: []engine.Relation{rel}}
	if _, err := all(t.Context(), e, q); err != nil {
		t.Fatal(err)
	}
	waitSpare(e)
	before := descriptors(t)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 6 {
				if got, err := all(t.Context(), e, q); err != nil || rows(got) != "[1000]" {
					t.Errorf("%s, %v", rows(got), err)
					return
				}
			}
		})
	}
	wg.Wait()
	waitSpare(e)
	if after := descriptors(t); after > before {
		t.Errorf("%d descriptors after 24 queries, %d before", after, before)
	}
	e.Close()
	if left := children(t); len(left) > 0 {
		t.Errorf("children %v are left after Close", left)
	}
	if _, err := all(t.Context(), e, q); err == nil {
		t.Error("a closed engine answered")
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(fds)
}

// More queries than children wait for their turn.
func TestQueriesQueue(t *testing.T) {
	t.Parallel()
	e := testEngine(t, config{Children: 1})
	ctx, cancel := context.WithCancel(t.Context())
	running := make(chan error)
	first := make(chan bool)
	go func() {
		for b, err := range e.Query(ctx, engine.Query{SQL: "SELECT * FROM range(100000000000)", MaxRows: 1 << 30, MaxBytes: 1 << 25}) {
			if len(b.Columns) > 0 {
				first <- true
				<-ctx.Done()
			}
			if err != nil {
				running <- err
			}
		}
		close(running)
	}()
	<-first
	_, err := all(t.Context(), e, engine.Query{SQL: "SELECT 1", Wall: 50 * time.Millisecond})
	wantCode(t, err, apierror.Unavailable, "busy")
	gone, leave := context.WithCancel(t.Context())
	leave()
	_, err = all(gone, e, engine.Query{SQL: "SELECT 1"})
	wantCode(t, err, apierror.Canceled, "")
	cancel()
	for range running {
	}
	if got, err := all(t.Context(), e, engine.Query{SQL: "SELECT 1"}); err != nil || rows(got) != "[1]" {
		t.Errorf("after the first: %s, %v", rows(got), err)
	}
}

func TestInspect(t *testing.T) {
	t.Parallel()
	e := testEngine(t, config{})
	tests := []struct {
		sql  string
		want string
	}{
		{"SELECT * FROM a.b.c JOIN x USING (id), A.B.C", "select [a.b.c x]"},
		{"WITH x AS (SELECT * FROM y) SELECT * FROM x", "select [y]"},
		{"SELECT * FROM \"a.b\".\"c d\"", `select ["a.b"."c d"]`},
		{"SELECT 1", "select []"},
		{"VALUES (1)", "select []"},
		{"SELECT * FROM 'f.csv'", `select ["f.csv"]`},
		{"COPY a TO 'b'", "copy []"},
		{"describe a", "describe []"},
		{"/* x */ (SHOW TABLES)", "show []"},
		{"explain select 1", "explain []"},
	}
	for _, tt := range tests {
		st, err := e.Inspect(t.Context(), tt.sql)
		if got := fmt.Sprint(st.Kind, " ", st.Names); err != nil || got != tt.want {
			t.Errorf("Inspect(%q) = %s, %v, want %s", tt.sql, got, err, tt.want)
		}
	}
	for _, sql := range []string{"", "SELEC 1", "SELECT 1; SELECT 2", strings.Repeat("x", maxSQL+1)} {
		_, err := e.Inspect(t.Context(), sql)
		wantCode(t, err, apierror.Invalid, "")
	}
}

// The checker is replaced when it is used up, and when it has died.
func TestCheckerIsReplaced(t *testing.T) {
	t.Parallel()
	e := testEngine(t, config{Cold: true})
	inspect := func() int {
		t.Helper()
		if st, err := e.Inspect(t.Context(), "SELECT 1 FROM t"); err != nil || len(st.Names) != 1 {
			t.Fatalf("%+v, %v", st, err)
		}
		return e.checker.p.cmd.Process.Pid
	}
	first := inspect()
	if again := inspect(); again != first {
		t.Errorf("second statement in process %d, want %d", again, first)
	}
	e.checker.uses = checkerUses
	second := inspect()
	if second == first {
		t.Error("a used up checker was used")
	}
	e.checker.p.signal()
	<-e.checker.p.exited
	if third := inspect(); third == second {
		t.Error("a dead checker was used")
	}
}

// A checker that is killed with a statement before it is no reason to blame
// the statement: another one reads it.
func TestCheckerKilledFromOutside(t *testing.T) {
	t.Parallel()
	e := testEngine(t, config{Cold: true})
	if _, err := e.Inspect(t.Context(), "SELECT 1"); err != nil {
		t.Fatal(err)
	}
	p := e.checker.p
	if err := syscall.Kill(p.cmd.Process.Pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		st, err := e.Inspect(t.Context(), "SELECT 1 FROM t")
		if err == nil && len(st.Names) != 1 {
			err = fmt.Errorf("got %+v", st)
		}
		ended <- err
	}()
	for e.checker.mu.TryLock() { // until Inspect holds it
		e.checker.mu.Unlock()
		runtime.Gosched()
	}
	p.signal()
	if err := <-ended; err != nil {
		t.Errorf("Inspect: %v", err)
	}
}

func BenchmarkQuery(b *testing.B) {
	for _, cold := range []bool{false, true} {
		b.Run(fmt.Sprintf("cold=%t", cold), func(b *testing.B) {
			e := newEngine(config{Cold: cold})
			defer e.Close()
			q := engine.Query{SQL: "SELECT stars, count(*) FROM main.sales.reviews GROUP BY stars", Relations: []engine.Relation{reviews(b, b.TempDir())}}
			var took []time.Duration
			for b.Loop() {
				if !cold && e.spawner != nil {
					b.StopTimer()
					waitSpare(e)
					b.StartTimer()
				}
				start := time.Now()
				if _, err := all(b.Context(), e, q); err != nil {
					b.Fatal(err)
				}
				took = append(took, time.Since(start))
			}
			b.ReportMetric(percentile(took, 50), "p50-ms")
			b.ReportMetric(percentile(took, 95), "p95-ms")
		})
	}
}

func BenchmarkInspect(b *testing.B) {
	e := newEngine(config{Cold: true})
	defer e.Close()
	for b.Loop() {
		if _, err := e.Inspect(b.Context(), "SELECT stars, count(*) FROM main.sales.reviews GROUP BY stars"); err != nil {
			b.Fatal(err)
		}
	}
}

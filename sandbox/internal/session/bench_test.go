package session_test

import (
	"bufio"
	"context"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sallyport-gateway/sallyport/sandbox/guests/guesttest"
	"github.com/sallyport-gateway/sallyport/sandbox/internal/engine"
	"github.com/sallyport-gateway/sallyport/sandbox/internal/session"
)

// hello is a first program of each language.
var hello = map[string]string{session.Python: "print(1)", session.SQL: "SELECT 1", session.Shell: "echo 1"}

// guests loads the guests that $SALLYPORT_GUESTS has, all three without it.
func guests(b *testing.B) *engine.Engine {
	b.Helper()
	dir := os.Getenv(guesttest.Variable)
	if dir == "" {
		dir = guesttest.Dir(b)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		b.Fatal(err)
	}
	e, err := engine.Load(context.Background(), dir, engine.Options{Cache: filepath.Join(cache, "sallyport", "bench-compiled")})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { e.Close(context.Background()) })
	return e
}

func fresh(b *testing.B, e *engine.Engine, language, code string) *session.Session {
	b.Helper()
	s, err := session.Open(e, session.Setup{})
	if err != nil {
		b.Fatal(err)
	}
	again(b, s, language, code)
	return s
}

func again(b *testing.B, s *session.Session, language, code string) {
	b.Helper()
	res, err := s.Exec(context.Background(), session.Program{Language: language, Code: code})
	if err != nil || res.Exit != 0 {
		b.Fatalf("%+v, %v", res, err)
	}
}

// BenchmarkFresh is a session from nothing to its first result and its end.
func BenchmarkFresh(b *testing.B) {
	e := guests(b)
	for _, language := range e.Languages() {
		b.Run(language, func(b *testing.B) {
			times := make([]time.Duration, 0, b.N)
			for b.Loop() {
				start := time.Now()
				s := fresh(b, e, language, hello[language])
				times = append(times, time.Since(start))
				s.Close()
			}
			slices.Sort(times)
			b.ReportMetric(float64(times[len(times)/2].Microseconds()), "µs-p50")
			b.ReportMetric(float64(times[0].Microseconds()), "µs-min")
		})
	}
}

// BenchmarkAgain is a further program of a session.
func BenchmarkAgain(b *testing.B) {
	e := guests(b)
	for _, language := range e.Languages() {
		b.Run(language, func(b *testing.B) {
			s := fresh(b, e, language, hello[language])
			defer s.Close()
			for b.Loop() {
				again(b, s, language, hello[language])
			}
		})
	}
}

// BenchmarkParallel is fresh sessions on all processors.
func BenchmarkParallel(b *testing.B) {
	e := guests(b)
	for _, language := range e.Languages() {
		b.Run(language, func(b *testing.B) {
			start := time.Now()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					fresh(b, e, language, hello[language]).Close()
				}
			})
			b.ReportMetric(float64(b.N)/time.Since(start).Seconds(), "sessions/s")
		})
	}
}

// BenchmarkLive keeps 1,000 sessions and asks the kernel what they cost.
func BenchmarkLive(b *testing.B) {
	e := guests(b)
	for _, language := range e.Languages() {
		b.Run(language, func(b *testing.B) {
			const n = 1000
			for b.Loop() {
				before := pss(b)
				var live []*session.Session
				for range n {
					live = append(live, fresh(b, e, language, hello[language]))
				}
				b.ReportMetric(float64(pss(b)-before)/n/1024, "MiB-PSS/session")
				var wg sync.WaitGroup
				for _, s := range live {
					wg.Go(s.Close)
				}
				wg.Wait()
			}
		})
	}
}

// pss is this process's share of memory in KiB, after a collection.
func pss(b *testing.B) int {
	b.Helper()
	debug.FreeOSMemory()
	f, err := os.Open("/proc/self/smaps_rollup")
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	for sc := bufio.NewScanner(f); sc.Scan(); {
		if v, ok := strings.CutPrefix(sc.Text(), "Pss:"); ok {
			n, err := strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(v, "kB")))
			if err != nil {
				b.Fatal(err)
			}
			return n
		}
	}
	b.Fatal("no Pss in smaps_rollup")
	return 0
}

// BenchmarkCollection is a garbage collection while guests run without end.
func BenchmarkCollection(b *testing.B) {
	e := guests(b)
	endless := map[string]string{
		session.Python: "while True: pass", session.Shell: "while true; do :; done",
		session.SQL: "WITH RECURSIVE t(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM t) SELECT count(*) FROM t",
	}
	for _, language := range append(e.Languages(), "nothing") {
		b.Run(language, func(b *testing.B) {
			for range runtime.GOMAXPROCS(0) {
				if language == "nothing" { // the same without guests, to compare with
					break
				}
				s := fresh(b, e, language, hello[language])
				var wg sync.WaitGroup
				ctx, cancel := context.WithCancel(context.Background())
				wg.Go(func() {
					s.Exec(ctx, session.Program{Language: language, Code: endless[language]})
				})
				defer func() { cancel(); s.Kill(); wg.Wait(); s.Close() }()
			}
			var longest time.Duration
			for b.Loop() {
				start := time.Now()
				runtime.GC()
				longest = max(longest, time.Since(start))
			}
			b.ReportMetric(float64(longest.Microseconds()), "µs-max")
		})
	}
}

// BenchmarkGroupBy is a question over a table of 100,000 rows.
func BenchmarkGroupBy(b *testing.B) {
	e := guests(b)
	ctx := context.Background()
	trusted, err := session.Open(e, session.Setup{Trusted: true})
	if err != nil {
		b.Fatal(err)
	}
	defer trusted.Close()
	again(b, trusted, session.SQL, `ATTACH 'file:/tmp/t.db' AS o; CREATE TABLE o.t(id INTEGER, grp TEXT, x REAL, y REAL, note TEXT);
		INSERT INTO o.t WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < 100000)
		SELECT i, 'g' || (i % 20), i * 0.5, i % 97, 'note ' || i FROM n; DETACH o`)
	db, err := trusted.ReadFile(ctx, "tmp/t.db")
	if err != nil {
		b.Fatal(err)
	}
	code := map[string]string{
		session.SQL:    "SELECT grp, count(*), sum(x), avg(y), max(note) FROM main.a.t GROUP BY grp ORDER BY grp",
		session.Python: "import sqlite3\nc = sqlite3.connect('file:/data/main.a.t.db?mode=ro&immutable=1', uri=True)\nprint(len(c.execute('SELECT grp, count(*), sum(x), avg(y), max(note) FROM t GROUP BY grp ORDER BY grp').fetchall()))",
	}
	for _, language := range e.Languages() {
		if code[language] == "" {
			continue
		}
		b.Run(language, func(b *testing.B) {
			s, err := session.Open(e, session.Setup{Tables: []session.Table{{Name: "main.a.t", Database: db}}})
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			var cpu time.Duration
			for b.Loop() {
				res, err := s.Exec(ctx, session.Program{Language: language, Code: code[language]})
				if err != nil || res.Exit != 0 {
					b.Fatalf("%+v, %v", res, err)
				}
				cpu += res.CPU
			}
			b.ReportMetric(float64(cpu.Milliseconds())/float64(b.N), "cpu-ms/op")
		})
	}
}

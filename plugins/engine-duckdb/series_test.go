//go:build cgo

package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	duckdb "github.com/duckdb/duckdb-go-bindings"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/engine"
)

// seriesName is the name under which this program is a child that answers many
// queries over the same relations, one after another: a process for each of
// some hundred statements would take most of the time of the tests.
const seriesName = "series"

// seriesMain is childMain for a series. What a query does before it runs is done
// by the first one for all: the process is narrowed, and the bars are set, once.
func seriesMain() error {
	in, c := os.NewFile(3, "requests"), &child{rules: newRules(), out: bufio.NewWriter(os.NewFile(4, "answers"))}
	var err error
	if c.duck, err = openDuck(); err != nil {
		return err
	}
	if err := c.send(frameReady, ready{Version: duckdb.LibraryVersion()}); err != nil {
		return err
	}
	enclosed, offered := false, false
	for {
		_, payload, err := readFrame(in, maxRequest)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		var q request
		if err := json.Unmarshal(payload, &q); err != nil {
			return err
		}
		rs, names, err := readRelations(q.Relations)
		if err == nil && !enclosed {
			err, enclosed = c.enclose(q, rs), true
		}
		sql, cut := "", false
		if err == nil {
			sql, err = c.checked(q, names)
		}
		if err == nil && !offered {
			err, offered = c.offer(q, rs), true
		}
		if err == nil {
			cut, err = c.run(q, sql)
		}
		_ = c.duck.exec("ROLLBACK") // when the statement began a transaction
		if err != nil {
			err = c.send(frameError, c.failure(err, rs))
		} else {
			err = c.send(frameDone, done{cut})
		}
		if err != nil {
			return err
		}
	}
}

// series asks a child of the kind above, and starts another when that has ended.
type series struct {
	t *testing.T
	e *duckEngine
	p *process // nil: none yet
}

func newSeries(t *testing.T) *series {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), seriesName)
	if err := os.Symlink(program, link); err != nil {
		t.Fatal(err)
	}
	s := &series{t: t, e: testEngine(t, config{Cold: true, Program: link})}
	if err := s.e.open(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.end)
	return s
}

// end ends the child: the next query has a new one.
func (s *series) end() {
	if s.p != nil {
		s.p.kill()
		s.p = nil
	}
}

// ask runs a query as the engine would, but for its time. Of a child that ended
// the error is no apierror.
func (s *series) ask(q engine.Query, unchecked bool) (engine.Batch, error) {
	s.t.Helper()
	r, _, err := s.e.request(q)
	if err != nil {
		s.t.Fatal(err)
	}
	r.Unchecked = unchecked
	r.MaxCPU = 600 // of all the queries together
	if s.p == nil {
		if s.p, err = s.e.spawn(s.t.Context()); err != nil {
			s.t.Fatal(err)
		}
	}
	var got engine.Batch
	more, _, err := s.e.read(s.p, mustJSON(s.t, r), r, func(b engine.Batch) bool {
		if got.Columns == nil {
			got.Columns = b.Columns
		}
		got.Rows = append(got.Rows, b.Rows...)
		return true
	})
	if err == nil && !more {
		err = errors.New("the answer has no end")
	}
	if _, answered := errors.AsType[*apierror.Error](err); err != nil && !answered {
		s.end()
	}
	return got, err
}

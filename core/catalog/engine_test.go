package catalog

import (
	"bufio"
	"context"
	"encoding/json"
	"iter"
	"os"
	"regexp"
	"strings"
	"sync"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/engine"
)

// scanner is an engine of few words: it finds names after FROM and JOIN, takes
// every file for CSV, and answers with the lines of the relations it was given.
type scanner struct {
	mu      sync.Mutex
	queries []engine.Query
	gate    chan struct{} // when set, a query waits for it to close
	fail    error         // when set, every query ends with it
}

var mention = regexp.MustCompile("(?i)(?:from|join)\\s+([\\w.`\"/-]+)")

func (*scanner) Inspect(_ context.Context, sql string) (engine.Statement, error) {
	kind, _, _ := strings.Cut(strings.ToLower(strings.TrimSpace(sql)), " ")
	if kind == "" {
		return engine.Statement{}, apierror.New(apierror.Invalid, "The SQL is empty.")
	}
	st := engine.Statement{Kind: kind}
	for _, m := range mention.FindAllStringSubmatch(sql, -1) {
		st.Names = append(st.Names, m[1])
	}
	return st, nil
}

func (s *scanner) Query(ctx context.Context, q engine.Query) iter.Seq2[engine.Batch, error] {
	return func(yield func(engine.Batch, error) bool) {
		s.mu.Lock()
		s.queries = append(s.queries, q)
		gate, fail := s.gate, s.fail
		s.mu.Unlock()
		if gate != nil {
			select {
			case <-gate:
			case <-ctx.Done():
				yield(engine.Batch{}, ctx.Err())
				return
			}
		}
		if fail != nil {
			yield(engine.Batch{}, fail)
			return
		}
		var first engine.Batch
		var rows []json.RawMessage
		for _, r := range q.Relations {
			for _, f := range r.Files {
				file, err := os.Open(f.Path)
				if err != nil {
					yield(engine.Batch{}, err)
					return
				}
				lines := bufio.NewScanner(file)
				for n := 0; lines.Scan(); n++ {
					if n > 0 {
						rows = append(rows, json.RawMessage(`["`+lines.Text()+`"]`))
					} else if first.Columns == nil {
						for _, c := range strings.Split(lines.Text(), ",") {
							first.Columns = append(first.Columns, engine.Column{Name: c, Type: "VARCHAR"})
						}
					}
				}
				file.Close()
			}
		}
		if !yield(first, nil) {
			return
		}
		if len(rows) > 0 && !strings.HasSuffix(q.SQL, "LIMIT 0") {
			yield(engine.Batch{Rows: rows}, nil)
		}
	}
}

// asked returns the queries so far.
func (s *scanner) asked() []engine.Query {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]engine.Query(nil), s.queries...)
}

package main

import (
	"bytes"
	"container/list"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/engine"
	"github.com/sallyport-gateway/sallyport/sdk/tool"
)

const (
	cachedTables  = 256       // entries of the cache; each holds at most about 16 KiB
	sampleRows    = 500       // read from a table
	sampleBytes   = 256 << 10 // read from a table
	sampleColumns = 64        // of a wide table, the first
	sampleValues  = 5         // distinct ones kept of a column
	sampleRunes   = 40        // of a value; longer ones are left out
)

// samples is what a few rows tell about a table.
type samples struct {
	columns []engine.Column     // as the rows have them
	values  map[string][]string // by column: distinct short values, as SQL literals
}

// cache keeps samples, so that only the first opening of a version of a table
// costs an engine start.
//
// # Isolation
//
// The cache is shared by all callers, so a value sampled for one is shown to
// others. That is right as long as everybody who may SELECT from a table sees
// the same rows of it, which is so today: a grant covers a table as a whole.
// Three things keep it right. A caller is shown an entry only after Host.Object
// has answered for this very caller. The key holds all that the Host told about
// the table, so callers to whom it is shown differently (fewer columns, another
// comment, another Spec) do not share an entry; a gateway that filters rows by
// caller must show the filter in Version or Spec. And a table without a
// Version is not cached at all.
type cache struct {
	max int

	mu      sync.Mutex
	entries map[string]*list.Element // of entry
	recent  *list.List               // the front was used last
	flights map[string]chan struct{} // closed when the sampling of a key has ended
}

type entry struct {
	key     string
	samples samples
}

func newCache(max int) *cache {
	return &cache{max: max, entries: map[string]*list.Element{}, recent: list.New(), flights: map[string]chan struct{}{}}
}

// key is everything the Host said about a table.
func key(o tool.Object) string {
	b, err := json.Marshal(o)
	if err != nil || o.Version == "" {
		return ""
	}
	sum := sha256.Sum256(b)
	return string(sum[:])
}

// get returns the samples of a table; without any when it cannot be sampled,
// which is no reason to refuse the request. The only error is that ctx ended.
func (c *cache) get(ctx context.Context, o tool.Object, h *tool.Host) (samples, error) {
	k := key(o)
	if k == "" {
		s, err := sample(ctx, o, h)
		return s, fatal(ctx, o, err)
	}
	for {
		c.mu.Lock()
		if e, ok := c.entries[k]; ok {
			c.recent.MoveToFront(e)
			c.mu.Unlock()
			return e.Value.(entry).samples, nil
		}
		flight, waiting := c.flights[k]
		if !waiting {
			flight = make(chan struct{})
			c.flights[k] = flight
		}
		c.mu.Unlock()
		if waiting { // another opening samples this table: its answer, or our turn
			select {
			case <-flight:
				continue
			case <-ctx.Done():
				return samples{}, ctx.Err()
			}
		}
		s, err := sample(ctx, o, h)
		c.land(k, flight, s, err == nil)
		return s, fatal(ctx, o, err)
	}
}

// land ends a sampling and keeps what it gave.
func (c *cache) land(k string, flight chan struct{}, s samples, keep bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.flights, k)
	close(flight)
	if !keep {
		return
	}
	c.entries[k] = c.recent.PushFront(entry{k, s})
	if c.recent.Len() > c.max {
		oldest := c.recent.Remove(c.recent.Back()).(entry)
		delete(c.entries, oldest.key)
	}
}

// fatal keeps the error of a context that ended and logs any other.
func fatal(ctx context.Context, o tool.Object, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return apierror.Wrap(apierror.Canceled, ctx.Err(), "The call was canceled.")
	}
	slog.Warn("table is described without sample values", "table", o.Name, "error", err)
	return nil
}

// sample reads a few rows with one query.
func sample(ctx context.Context, o tool.Object, h *tool.Host) (samples, error) {
	s := samples{values: map[string][]string{}}
	selected := "*"
	if len(o.Columns) > 0 {
		var names []string
		for _, c := range o.Columns {
			if !nested(c.Type) && len(names) < sampleColumns {
				names = append(names, identifier(c.Name))
			}
		}
		if len(names) == 0 {
			return s, nil
		}
		selected = strings.Join(names, ", ")
	}
	q := tool.Query{SQL: fmt.Sprintf("SELECT %s FROM %s LIMIT %d", selected, from(o.Name), sampleRows), MaxRows: sampleRows, MaxBytes: sampleBytes}
	size := 0
	for b, err := range h.Query(ctx, q) {
		if err != nil {
			return samples{}, err
		}
		if s.columns == nil {
			s.columns = b.Columns
		}
		for _, r := range b.Rows {
			if size += len(r); size > sampleBytes {
				return s, nil
			}
			if err := s.add(r); err != nil {
				return samples{}, err
			}
		}
	}
	return s, nil
}

// nested reports a type whose values say little in a line.
func nested(sqlType string) bool {
	t := strings.ToUpper(sqlType)
	return strings.HasSuffix(t, "]") || strings.HasPrefix(t, "STRUCT") || strings.HasPrefix(t, "MAP") ||
		strings.HasPrefix(t, "UNION") || strings.HasPrefix(t, "BLOB") || strings.HasPrefix(t, "BINARY")
}

// add takes the values of one row.
func (s *samples) add(row json.RawMessage) error {
	var values []json.RawMessage
	if err := json.Unmarshal(row, &values); err != nil {
		return err
	}
	if len(values) != len(s.columns) {
		return errors.New("a row does not have one value for each column")
	}
	for i, v := range values {
		if i == sampleColumns {
			return nil
		}
		name := s.columns[i].Name
		if len(s.values[name]) >= sampleValues {
			continue
		}
		if l := literal(v); l != "" && !slices.Contains(s.values[name], l) {
			s.values[name] = append(s.values[name], l)
		}
	}
	return nil
}

// literal writes a JSON value as the model would write it in SQL; "" for null,
// for what is long, and for lists and structs.
func literal(v json.RawMessage) string {
	v = bytes.TrimSpace(v)
	if len(v) == 0 || v[0] == '[' || v[0] == '{' || string(v) == "null" {
		return ""
	}
	if v[0] != '"' {
		if len(v) > sampleRunes {
			return ""
		}
		return string(v)
	}
	var s string
	if err := json.Unmarshal(v, &s); err != nil || utf8.RuneCountInString(s) > sampleRunes {
		return ""
	}
	return quote(s)
}

package delta

import (
	"bytes"
	"context"
	"io"
	"io/fs"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// memory is a Storage with nothing but its five methods, as an object store
// would be one: no directories, no listing of names alone.
type memory struct {
	mu    sync.Mutex
	files map[string]memoryFile
}

type memoryFile struct {
	data []byte
	at   time.Time
}

var _ Storage = (*memory)(nil)

func (m *memory) PutIfAbsent(_ context.Context, name string, data []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.files[name]; ok {
		return fs.ErrExist
	}
	m.files[name] = memoryFile{bytes.Clone(data), time.Now()}
	return nil
}

func (m *memory) Put(_ context.Context, name string, r io.Reader) error {
	data, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.files[name] = memoryFile{data, time.Now()}
	return nil
}

type memoryObject struct{ *bytes.Reader }

func (memoryObject) Close() error { return nil }

func (m *memory) Open(_ context.Context, name string) (Object, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f, ok := m.files[name]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return memoryObject{bytes.NewReader(f.data)}, nil
}

func (m *memory) List(_ context.Context, dir string) iter.Seq2[Entry, error] {
	m.mu.Lock()
	defer m.mu.Unlock()
	files := maps.Clone(m.files)
	return func(yield func(Entry, error) bool) {
		for _, name := range slices.Sorted(maps.Keys(files)) {
			if dir == "" || strings.HasPrefix(name, dir+"/") {
				if !yield(Entry{name, int64(len(files[name].data)), files[name].at}, nil) {
					return
				}
			}
		}
	}
}

func (m *memory) Delete(_ context.Context, name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.files, name)
	return nil
}

// forgetful is a Storage whose listing misses a commit.
type forgetful struct{ *memory }

func (f forgetful) List(ctx context.Context, dir string) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		for e, err := range f.memory.List(ctx, dir) {
			if e.Name != logDir+"/"+commitFile(2) && !yield(e, err) {
				return
			}
		}
	}
}

func TestListingThatMissesACommit(t *testing.T) {
	t.Parallel()
	m := &memory{files: map[string]memoryFile{}}
	table := must(Create(t.Context(), m, Definition{Schema: small()}, Options{}))(t)
	appendN(t, table, 0, 3, nil)
	other, err := OpenTable(t.Context(), forgetful{m}, Options{})
	if err != nil || other.Version() != 3 {
		t.Fatal(err)
	}
	if n, _ := other.Files(); n != 3 {
		t.Errorf("got %d files, want 3", n)
	}
}

func TestAnyStorage(t *testing.T) {
	t.Parallel()
	clk := &clock{time.Now()}
	m := &memory{files: map[string]memoryFile{}}
	if _, err := OpenTable(t.Context(), m, Options{}); err == nil {
		t.Error("an empty storage is a table")
	}
	table := must(Create(t.Context(), m, Definition{Schema: small(), Partition: []string{"part"}, Properties: map[string]string{propLogRetention: "1 day"}}, Options{Now: clk.Now}))(t)
	var wg sync.WaitGroup
	for w := range 3 {
		wg.Go(func() {
			other := must(OpenTable(t.Context(), m, Options{Now: clk.Now}))(t)
			for i := range 10 {
				if _, err := other.Append(t.Context(), Txn{}, Rows(smallRow(w*10+i, "a b"))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if c, err := table.Compact(t.Context(), CompactOptions{}); err != nil || c.Before != 30 || c.Rows != 30 {
		t.Fatal(c, err)
	}
	clk.now = clk.now.Add(10 * 24 * time.Hour)
	if gone := must(table.Vacuum(t.Context(), VacuumOptions{}))(t); len(gone) != 30 {
		t.Errorf("Vacuum deleted %d files, want 30", len(gone))
	}
	if err := table.Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	if gone := must(table.CleanLog(t.Context()))(t); len(gone) == 0 {
		t.Error("CleanLog deleted nothing")
	}
	other := must(OpenTable(t.Context(), m, Options{}))(t)
	if n, _ := other.Files(); n != 1 || other.Version() != 31 {
		t.Errorf("got %d files at version %d", n, other.Version())
	}
}

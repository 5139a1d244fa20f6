package worker

import (
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/sallyport-gateway/sallyport/sandbox/internal/session"
	"github.com/sallyport-gateway/sallyport/sandbox/internal/wire"
)

// mapTables makes the files that came with a session into bytes, and closes
// them. release takes the bytes back, when nothing uses them any more; it is
// never nil and may be called again.
func mapTables(tables []wire.Table, files []*os.File) (mapped []session.Table, release func(), err error) {
	defer closeAll(files)
	var undo []func()
	release = sync.OnceFunc(func() {
		for _, f := range undo {
			f()
		}
	})
	next := func(there bool) ([]byte, error) {
		if !there {
			return nil, nil
		}
		if len(files) == 0 {
			return nil, fmt.Errorf("%w: a table without its descriptor", wire.ErrMalformed)
		}
		f := files[0]
		files = files[1:]
		defer f.Close()
		b, unmap, err := content(f)
		if unmap != nil {
			undo = append(undo, unmap)
		}
		return b, err
	}
	for _, t := range tables {
		m := session.Table{Name: t.Name, Rows: t.Rows, Cut: t.Cut}
		for _, c := range t.Columns {
			m.Columns = append(m.Columns, session.Column(c))
		}
		if m.Database, err = next(t.Database); err == nil {
			m.CSV, err = next(t.CSV)
		}
		if err != nil {
			return nil, release, fmt.Errorf("table %s: %w", t.Name, err)
		}
		mapped = append(mapped, m)
	}
	return mapped, release, nil
}

// copied reads all of f, whose contents might change or become shorter under a
// mapping.
func copied(f *os.File) ([]byte, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	b := make([]byte, info.Size())
	if _, err := io.ReadFull(io.NewSectionReader(f, 0, info.Size()), b); err != nil {
		return nil, err
	}
	return b, nil
}

package delta

import (
	"errors"
	"fmt"
	"io"

	"github.com/parquet-go/parquet-go"
)

// loadCheckpoint applies every action of a classic checkpoint file, or of one
// part of it.
func (st *state) loadCheckpoint(path string) (err error) {
	defer func() { // the decoder panics on some malformed files
		if v := recover(); v != nil {
			err = fmt.Errorf("malformed Parquet: %v", v)
		}
	}()
	f, err := openLog(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	pf, err := parquet.OpenFile(f, info.Size())
	if err != nil {
		return err
	}
	r := parquet.NewGenericReader[action](pf)
	defer r.Close()
	rows := make([]action, 256)
	for {
		clear(rows)
		n, err := r.Read(rows)
		for i := range n {
			if rows[i].Sidecar != nil {
				return fmt.Errorf("%w: its checkpoint has sidecar files", ErrUnsupported)
			}
			st.apply(rows[i])
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

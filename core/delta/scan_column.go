package delta

import (
	"errors"
	"io"
	"slices"

	"github.com/parquet-go/parquet-go"
)

// texts holds each text once.
type texts map[string]string

func (t texts) of(b []byte) string {
	if s, ok := t[string(b)]; ok {
		return s
	}
	if len(t) > 1<<16 { // names are few; ids are not
		clear(t)
	}
	s := string(b)
	t[s] = s
	return s
}

// columnReader reads a column of a row group, a number of rows at a time.
type columnReader struct {
	parts []*chunkReader
	typ   Type
	texts texts
	last  []string // the list that was read last
}

func (r *columnReader) close() error {
	var errs []error
	for _, p := range r.parts {
		errs = append(errs, p.pages.Close())
	}
	return errors.Join(errs...)
}

func (r *columnReader) read(dst *Values, rows int) error {
	if len(r.parts) == 0 {
		return nil
	}
	switch r.typ.(type) {
	case Map:
		return r.maps(dst, rows)
	case Array:
		return r.lists(dst, rows)
	}
	if r.typ == String {
		dst.Texts = make([]string, rows)
	} else {
		dst.Ints = make([]int64, rows)
	}
	for i := range rows {
		v, err := r.parts[0].next()
		switch {
		case err != nil:
			return err
		case v.IsNull():
		case dst.Texts != nil:
			dst.Texts[i] = r.texts.of(v.ByteArray())
		case v.Kind() == parquet.Int64:
			dst.Ints[i] = v.Int64()
		default:
			dst.Ints[i] = int64(v.Int32())
		}
	}
	return nil
}

func (r *columnReader) lists(dst *Values, rows int) error {
	dst.Lists = make([][]string, rows)
	p := r.parts[0]
	var list []string
	for i := range rows {
		list = list[:0]
		for first := true; first || p.more(); first = false {
			v, err := p.next()
			if err != nil {
				return err
			}
			if !v.IsNull() {
				list = append(list, r.texts.of(v.ByteArray()))
			}
		}
		if len(list) == 0 {
			continue
		}
		if !slices.Equal(list, r.last) {
			r.last = slices.Clone(list)
		}
		dst.Lists[i] = r.last
	}
	return nil
}

func (r *columnReader) maps(dst *Values, rows int) error {
	dst.Maps = make([]map[string]string, rows)
	keys, values := r.parts[0], r.parts[1]
	for i := range rows {
		for first := true; first || keys.more(); first = false {
			k, err := keys.next()
			if err != nil {
				return err
			}
			v, err := values.next()
			if err != nil {
				return err
			}
			if k.IsNull() {
				continue
			}
			if dst.Maps[i] == nil {
				dst.Maps[i] = map[string]string{}
			}
			text := ""
			if !v.IsNull() {
				text = r.texts.of(v.ByteArray())
			}
			dst.Maps[i][r.texts.of(k.ByteArray())] = text
		}
	}
	return nil
}

// chunkReader gives the values of a Parquet column one by one.
type chunkReader struct {
	leaf   scanLeaf
	pages  parquet.Pages
	values parquet.ValueReader
	buf    [256]parquet.Value
	at, n  int
}

// fill makes sure that a value is at hand. The error is io.EOF behind the last.
func (c *chunkReader) fill() error {
	for c.at == c.n {
		if c.values == nil {
			page, err := c.pages.ReadPage()
			if err != nil {
				return err
			}
			c.values = page.Values()
		}
		n, err := c.values.ReadValues(c.buf[:])
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		c.at, c.n = 0, n
		if errors.Is(err, io.EOF) || n == 0 {
			c.values = nil
		}
	}
	return nil
}

// next is the next value, which holds until the one after it is asked for.
func (c *chunkReader) next() (parquet.Value, error) {
	if err := c.fill(); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return parquet.Value{}, err
	}
	c.at++
	if v := c.buf[c.at-1]; v.IsNull() {
		return v, nil
	}
	return c.leaf.convert(c.buf[c.at-1])
}

// more reports whether the next value is of the same row as the one before.
func (c *chunkReader) more() bool {
	return c.fill() == nil && c.buf[c.at].RepetitionLevel() > 0
}

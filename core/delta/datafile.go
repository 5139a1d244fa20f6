package delta

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/parquet-go/parquet-go"
)

const (
	batchRows    = 128       // most rows gathered before they go to the Parquet writer
	batchBytes   = 2 << 20   // most bytes of strings in them, but for the last row
	idBytes      = 64        // most bytes of a text that may be an id
	groupRows    = 512 << 10 // most rows of a row group
	groupBytes   = 32 << 20  // about the most bytes of a row group, compressed
	groupText    = 32 << 20  // most bytes of its texts, but for a single batch: readers hold many of its rows at once
	dictBytes    = 1 << 20   // of one column's dictionary, then it is written plain
	pageBytes    = 256 << 10 // of one page
	createdBy    = "sallyport delta version 1 (build 1)"
	maxOpenFiles = 64 // partitions that one Writer has open at a time
)

var errAborted = errors.New("writing was given up")

// parquetWriter writes values by column. The footer has bounds of the columns
// that have them in the log too; the library does not cut those of long texts.
func parquetWriter(w io.Writer, l *layout, noDict []bool, want func(i int, path string) bool) *parquet.GenericWriter[any] {
	schema := l.schema(noDict)
	options := []parquet.WriterOption{
		schema,
		parquet.Compression(&codec{}),
		parquet.DataPageVersion(1), parquet.DataPageStatistics(false),
		parquet.DictionaryMaxBytes(dictBytes), parquet.PageBufferSize(pageBytes),
		&parquet.WriterConfig{CreatedBy: createdBy},
	}
	paths := schema.Columns()
	bounded := make([]bool, len(paths))
	for _, s := range newStats(l, want).leaves {
		bounded[s.leaf.index] = true
	}
	for i, path := range paths {
		if !bounded[i] {
			options = append(options, parquet.SkipPageBounds(path...))
		}
	}
	return parquet.NewGenericWriter[any](w, options...)
}

// writeColumns writes the values of whole rows.
func writeColumns(w *parquet.GenericWriter[any], values [][]parquet.Value) error {
	for i, c := range w.ColumnWriters() {
		if _, err := c.WriteRowValues(values[i]); err != nil {
			return err
		}
	}
	return nil
}

// encodeFile is a small Parquet file in memory: a checkpoint.
func encodeFile(l *layout, rows func(yield func(Row) error) error) ([]byte, error) {
	var b bytes.Buffer
	w := parquetWriter(&b, l, nil, func(int, string) bool { return false })
	e := newRowEncoder(l, &plans{})
	flush := func() error {
		defer e.reset()
		return writeColumns(w, e.whole())
	}
	err := rows(func(r Row) error {
		for i, c := range l.columns {
			if err := e.value(c, r[i], 0, 0); err != nil {
				return err
			}
		}
		if e.rows++; e.rows < batchRows {
			return nil
		}
		return flush()
	})
	if err == nil {
		err = flush()
	}
	if err == nil {
		err = w.Close()
	}
	return b.Bytes(), err
}

// dataFile is a Parquet file of the table that is being written. Its bytes go
// to the Storage as they come; the file exists once finish has returned nil.
type dataFile struct {
	name      string
	partition map[string]*string
	enc       *rowEncoder
	props     properties
	w         *parquet.GenericWriter[any] // nil before the first rows
	stats     *stats
	out       *countingPipe
	done      chan error // of Storage.Put
	texts     []int      // bytes of each leaf's texts since its page began
	group     int        // rows in the row group
	groupText int        // bytes of its texts
	flushed   int64      // bytes of the row groups before
}

// countingPipe counts the bytes that go to the Storage.
type countingPipe struct {
	*io.PipeWriter
	n int64
}

func (p *countingPipe) Write(b []byte) (int, error) {
	n, err := p.PipeWriter.Write(b)
	p.n += int64(n)
	return n, err
}

// newDataFile starts a file. End it by finish or abort; until then ctx must
// live.
func newDataFile(ctx context.Context, s Storage, f *form, name string, partition map[string]*string) *dataFile {
	r, w := io.Pipe()
	d := &dataFile{name: name, partition: partition, enc: newRowEncoder(f.layout, f.plans), props: f.props,
		texts: make([]int, len(f.layout.leaves)), stats: newStats(f.layout, f.props.wants), out: &countingPipe{PipeWriter: w}, done: make(chan error, 1)}
	go func() {
		err := s.Put(ctx, name, r)
		if err == nil {
			r.Close()
		} else {
			r.CloseWithError(err)
		}
		d.done <- err
	}()
	return d
}

// flush gives the gathered rows to the Parquet writer.
func (d *dataFile) flush() error {
	if d.enc.rows == 0 {
		return nil
	}
	defer d.enc.reset()
	return d.append(d.enc.whole(), d.enc.rows)
}

// begin begins the Parquet file, whose first rows are given by column.
func (d *dataFile) begin(values [][]parquet.Value) {
	d.w = parquetWriter(d.out, d.enc.layout, unique(d.enc.layout, values), d.props.wants)
}

// unique says of each leaf whether it holds short texts that do not repeat, as
// ids: a dictionary of them would take time and bytes and save nothing. It goes by
// the first rows, if these are enough to tell. Longer texts may come again later,
// and cost more then.
func unique(l *layout, values [][]parquet.Value) []bool {
	no := make([]bool, len(l.leaves))
	seen := make(map[string]bool, batchRows)
	for i, vs := range values {
		if l := l.leaves[i]; !l.dict || l.typ != String && l.typ != Binary {
			continue
		}
		clear(seen)
		n, size := 0, 0
		for _, v := range vs {
			if v.IsNull() {
				continue
			}
			n, size = n+1, size+len(v.ByteArray())
			if seen[string(v.ByteArray())] = true; len(seen) < n {
				break
			}
		}
		no[i] = n >= batchRows/2 && len(seen) == n && size <= n*idBytes
	}
	return no
}

// append writes whole rows, given by column.
func (d *dataFile) append(values [][]parquet.Value, rows int) error {
	if d.w == nil {
		d.begin(values)
	}
	d.stats.observe(values, rows)
	text := d.countTexts(values)
	if d.group > 0 && d.groupText+text > groupText {
		if err := d.endGroup(); err != nil {
			return err
		}
		d.countTexts(values) // those of the new row group
	}
	if err := writeColumns(d.w, values); err != nil {
		return err
	}
	if err := d.boundDictionaries(); err != nil {
		return err
	}
	d.groupText += text
	if d.group += rows; d.group >= groupRows || d.w.Size()-d.flushed >= groupBytes {
		return d.endGroup()
	}
	return nil
}

// endGroup writes the row group and begins another.
func (d *dataFile) endGroup() error {
	if err := d.w.Flush(); err != nil {
		return err
	}
	d.group, d.groupText, d.flushed = 0, 0, d.w.Size()
	clear(d.texts)
	return nil
}

// countTexts adds the bytes of each leaf's texts to what its page has, and
// returns their sum.
func (d *dataFile) countTexts(values [][]parquet.Value) (sum int) {
	for i, l := range d.enc.layout.leaves {
		if !l.dict || l.typ != String && l.typ != Binary {
			continue
		}
		n := 0
		for j := range values[i] {
			n += len(values[i][j].ByteArray())
		}
		d.texts[i] += n
		sum += n
	}
	return sum
}

// boundDictionaries ends the pages of columns that have taken a lot of text.
// The library looks at the size of a dictionary only then, and would gather
// thousands of large texts in it before.
func (d *dataFile) boundDictionaries() error {
	columns := d.w.ColumnWriters()
	for i, n := range d.texts {
		if n < dictBytes {
			continue
		}
		if err := columns[i].Flush(); err != nil {
			return err
		}
		d.texts[i] = 0
	}
	return nil
}

// size is about how many bytes the file has.
func (d *dataFile) size() int64 { return d.w.Size() }

// finish completes the file and returns its action, without times.
func (d *dataFile) finish() (*add, error) {
	err := d.flush()
	if err == nil {
		if d.w == nil {
			d.begin(nil)
		}
		err = d.w.Close()
	}
	if err != nil {
		if stored := d.abort(err); stored != nil {
			err = stored
		}
		return nil, err
	}
	d.out.Close()
	if err := <-d.done; err != nil {
		return nil, err
	}
	return &add{Path: loggedPath(d.name), PartitionValues: d.partition, Size: d.out.n, DataChange: true, Stats: d.stats.encode()}, nil
}

// abort gives the file up, so that it never exists. It returns what the
// Storage said, unless that is only the giving up.
func (d *dataFile) abort(why error) error {
	d.out.CloseWithError(fmt.Errorf("%w: %w", errAborted, why))
	if err := <-d.done; err != nil && !errors.Is(err, errAborted) {
		return err
	}
	return nil
}

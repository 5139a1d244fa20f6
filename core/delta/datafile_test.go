package delta

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"
)

// openParquet opens the table's only file.
func openParquet(t *testing.T, table *Table) *parquet.File {
	t.Helper()
	for _, a := range table.state.live {
		o := must(table.storage.Open(t.Context(), a.Path))(t)
		t.Cleanup(func() { o.Close() })
		return must(parquet.OpenFile(o, o.Size()))(t)
	}
	t.Fatal("the table has no file")
	return nil
}

func TestTextsThatDoNotRepeatHaveNoDictionary(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		rows  int
		value func(i int) any
		plain bool
	}{
		{"ids", 1000, func(i int) any { return fmt.Sprint("id ", i) }, true},
		{"ids and nulls", 1000, func(i int) any {
			if i%3 == 0 {
				return nil
			}
			return fmt.Sprint("id ", i)
		}, true},
		{"ids at first", 1000, func(i int) any { return fmt.Sprint("id ", min(i, batchRows)) }, true},
		{"one that comes twice", 1000, func(i int) any { return fmt.Sprint("id ", max(i, 1)) }, false},
		{"long texts", 1000, func(i int) any { return fmt.Sprintf("%0*d", idBytes+1, i) }, false},
		{"few rows", batchRows/2 - 1, func(i int) any { return fmt.Sprint("id ", i) }, false},
		{"few texts", 1000, func(i int) any {
			if i%3 > 0 {
				return nil
			}
			return fmt.Sprint("id ", i)
		}, false},
		{"nulls", 1000, func(int) any { return nil }, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			table, d := testTable(t, Definition{Schema: Schema{{Name: "id", Type: Long}, {Name: "v", Type: String}}}, Options{})
			if _, err := table.Append(t.Context(), Txn{}, func(yield func(any, error) bool) {
				for i := range tt.rows {
					if !yield(Row{i, tt.value(i)}, nil) {
						return
					}
				}
			}); err != nil {
				t.Fatal(err)
			}
			encodings := openParquet(t, table).Metadata().RowGroups[0].Columns[1].MetaData.Encoding
			if got := !slices.Contains(encodings, format.RLEDictionary); got != tt.plain {
				t.Errorf("encodings %v, want plain to be %v", encodings, tt.plain)
			}
			for _, e := range encodings { // readers know these longest
				if e != format.Plain && e != format.RLE && e != format.RLEDictionary {
					t.Errorf("encoding %v", e)
				}
			}
			for i, r := range readAll(t, d) {
				if r["id"] != int64(i) || r["v"] != tt.value(i) {
					t.Fatalf("row %d: got %v", i, r)
				}
			}
		})
	}
}

// A file without rows can still be read; Compact may make one.
func TestFileWithoutRows(t *testing.T) {
	t.Parallel()
	table, _ := testTable(t, Definition{Schema: everything()}, Options{})
	a := must(newDataFile(t.Context(), table.storage, table.form, "empty.parquet", nil).finish())(t)
	if n := *parseStats(a.Stats).NumRecords; n != 0 {
		t.Errorf("the statistics say %d rows", n)
	}
	o := must(table.storage.Open(t.Context(), "empty.parquet"))(t)
	defer o.Close()
	if f := must(parquet.OpenFile(o, o.Size()))(t); f.NumRows() != 0 || f.Size() != a.Size {
		t.Errorf("got %d rows and %d bytes, want 0 and %d", f.NumRows(), f.Size(), a.Size)
	}
}

func TestCodec(t *testing.T) {
	t.Parallel()
	random := rand.NewChaCha8([32]byte{1})
	noise := make([]byte, smallPage/2)
	random.Read(noise)
	var c codec
	var compressed, plain []byte
	for _, page := range [][]byte{{}, []byte("a"), noise, bytes.Repeat(noise, 2), bytes.Repeat(noise, 11), bytes.Repeat([]byte("text "), pageWindow), []byte("after")} {
		var err error
		if compressed, err = c.Encode(compressed, page); err != nil {
			t.Fatal(err)
		}
		if plain, err = c.Decode(plain, compressed); err != nil || !bytes.Equal(plain, page) {
			t.Errorf("a page of %d bytes: got %d bytes, %v", len(page), len(plain), err)
		}
	}
}

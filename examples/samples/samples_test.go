package samples

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/parquet-go/parquet-go"
)

func TestSameSeedSameFiles(t *testing.T) {
	a, b, c := t.TempDir(), t.TempDir(), t.TempDir()
	for dir, seed := range map[string]uint64{a: 7, b: 7, c: 8} {
		if err := Write(dir, seed); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range []string{ReviewsFile, OrdersFile, ProductsFile, StoresFile} {
		x, y, z := read(t, a, f), read(t, b, f), read(t, c, f)
		if !bytes.Equal(x, y) {
			t.Errorf("%s differs between two runs of one seed", f)
		}
		if bytes.Equal(x, z) {
			t.Errorf("%s is the same for two seeds", f)
		}
	}
}

func TestRowsAreSound(t *testing.T) {
	dir := t.TempDir()
	if err := Write(dir, Seed); err != nil {
		t.Fatal(err)
	}
	rows, err := parquet.ReadFile[Review](filepath.Join(dir, ReviewsFile))
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) < 3600 {
		t.Errorf("got %d reviews, want at least 3600", len(rows))
	}
	seen := map[int32]int{}
	for _, r := range rows {
		seen[r.Stars]++
	}
	for s := int32(1); s <= 5; s++ {
		if seen[s] == 0 {
			t.Errorf("no review has %d stars", s)
		}
	}
	if len(seen) != 5 {
		t.Errorf("stars take %d values, want 5: %v", len(seen), seen)
	}
}

func read(t *testing.T, dir, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

package ledger

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// written makes a log of rows 1 to n and closes it.
func written(t *testing.T, n int) Config {
	t.Helper()
	cfg := small(t.TempDir())
	l := mustOpen(t, cfg)
	fill(t, l, 1, n)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return cfg
}

func edit(t *testing.T, path string, change func([]byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, change(b), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// contents is every file of a log but its lock.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		b, err := os.ReadFile(dir + "/" + e.Name())
		if err != nil {
			t.Fatal(err)
		}
		if e.Name() != lockName {
			all[e.Name()] = string(b)
		}
	}
	return all
}

// frameOf200 is what a row of fill takes on disk.
var frameOf200 = frameSize(Row, "t", 200)

func TestTornEnd(t *testing.T) {
	full := frameOf200
	for _, tt := range []struct {
		what   string
		change func([]byte) []byte
		want   int // records left of 10
		cut    int // bytes
		behind int // intact records in them
	}{
		{"nothing", func(b []byte) []byte { return b }, 10, 0, 0},
		{"one byte short", func(b []byte) []byte { return b[:len(b)-1] }, 9, full - 1, 0},
		{"only the header of a frame", func(b []byte) []byte { return b[:len(b)-full+frameHeader] }, 9, frameHeader, 0},
		{"less than a header", func(b []byte) []byte { return b[:len(b)-full+3] }, 9, 3, 0},
		{"garbage", func(b []byte) []byte { return append(b, "garbage that is longer than a header"...) }, 10, 36, 0},
		{"zeros", func(b []byte) []byte { return append(b, make([]byte, 8192)...) }, 10, 8192, 0},
		{"all the same bits", func(b []byte) []byte { return append(b, strings.Repeat("\xff", 500)...) }, 10, 500, 0},
		{"an old frame again", func(b []byte) []byte { return append(b, b[len(b)-full:]...) }, 10, full, 0},
		{"a flipped bit in the last record", func(b []byte) []byte { b[len(b)-5] ^= 1; return b }, 9, full, 0},
		{"a flipped bit in a length", func(b []byte) []byte { b[len(b)-full+6] ^= 1; return b }, 9, full, 0},
		{"a flipped bit before others", func(b []byte) []byte { b[len(b)-3*full+20] ^= 1; return b }, 7, 3 * full, 2},
		{"only the header of the segment", func(b []byte) []byte { return b[:segmentHeader] }, 0, 0, 0},
		{"a header cut short", func(b []byte) []byte { return b[:10] }, 0, 10, 0},
		{"an empty file", func(b []byte) []byte { return nil }, 0, 0, 0},
		{"zeros only", func(b []byte) []byte { return make([]byte, 600) }, 0, 600, 0},
	} {
		t.Run(tt.what, func(t *testing.T) {
			cfg := written(t, 10)
			edit(t, segmentFiles(t, cfg.Dir)[0], tt.change)
			l := mustOpen(t, cfg)
			if got := replay(t, l, 0); len(got) != tt.want || tt.want > 0 && got[tt.want-1] != fmt.Sprintf("%d row t %d", tt.want, tt.want) {
				t.Errorf("replay = %q, want %d", got, tt.want)
			}
			var cut, behind int
			for _, c := range l.Report().Cut {
				cut, behind = cut+int(c.Bytes), behind+c.Behind
				if b, err := os.ReadFile(c.Aside); c.Behind > 0 && (err != nil || len(b) != int(c.Bytes)) {
					t.Errorf("set aside: %d bytes, %v", len(b), err)
				}
			}
			if cut != tt.cut || behind != tt.behind {
				t.Errorf("cut %d bytes with %d records, want %d with %d", cut, behind, tt.cut, tt.behind)
			}
			// What comes now is there after the next start, and nothing is cut again.
			fill(t, l, 50, 51)
			before := replay(t, l, 0)
			l.Close()
			l = mustOpen(t, cfg)
			if got := replay(t, l, 0); !slices.Equal(got, before) || len(got) != tt.want+2 || len(l.Report().Cut) != 0 {
				t.Errorf("then replay = %q, report %+v", got, l.Report())
			}
		})
	}
}

func TestDamageInTheMiddle(t *testing.T) {
	for _, tt := range []struct {
		what   string
		damage func(t *testing.T, files []string)
		file   int // that the error names
		from   func(first []uint64) uint64
		reason string
	}{
		{"a flipped bit", func(t *testing.T, files []string) {
			edit(t, files[1], func(b []byte) []byte { b[segmentHeader+2*frameOf200+30] ^= 4; return b })
		}, 1, func(first []uint64) uint64 { return first[1] + 2 }, "checksum"},
		{"cut short", func(t *testing.T, files []string) {
			edit(t, files[1], func(b []byte) []byte { return b[:len(b)-1] })
		}, 1, func(first []uint64) uint64 { return first[2] - 1 }, "ends inside a record"},
		{"cut at a frame", func(t *testing.T, files []string) {
			edit(t, files[1], func(b []byte) []byte { return b[:segmentHeader+frameOf200] })
		}, -1, func(first []uint64) uint64 { return first[1] + 1 }, "are missing"},
		{"its header", func(t *testing.T, files []string) {
			edit(t, files[1], func(b []byte) []byte { b[20] ^= 1; return b })
		}, 1, func(first []uint64) uint64 { return first[1] }, "header"},
		{"an empty file", func(t *testing.T, files []string) {
			edit(t, files[1], func(b []byte) []byte { return nil })
		}, 1, func(first []uint64) uint64 { return first[1] }, ""},
		{"deleted", func(t *testing.T, files []string) {
			if err := os.Remove(files[1]); err != nil {
				t.Fatal(err)
			}
		}, 1, func(first []uint64) uint64 { return first[1] }, "are missing"},
		{"the header of the last", func(t *testing.T, files []string) {
			edit(t, files[len(files)-1], func(b []byte) []byte { b[20] ^= 1; return b })
		}, 3, func(first []uint64) uint64 { return first[3] }, "header"},
	} {
		t.Run(tt.what, func(t *testing.T) {
			cfg := written(t, 70)
			files := segmentFiles(t, cfg.Dir)
			if len(files) != 4 {
				t.Fatalf("%d segments", len(files))
			}
			var first []uint64
			for _, f := range files {
				n, _ := segmentFirst(f[len(f)-24:])
				first = append(first, n)
			}
			tt.damage(t, files)
			before := contents(t, cfg.Dir)

			_, err := Open(cfg)
			var ce *CorruptError
			if !errors.As(err, &ce) || !strings.Contains(ce.Reason, tt.reason) || tt.file >= 0 && ce.Path != files[tt.file] {
				t.Fatalf("Open: %v", err)
			}
			if after := contents(t, cfg.Dir); fmt.Sprint(after) != fmt.Sprint(before) {
				t.Error("a refused Open changed files")
			}

			cfg.Quarantine = true
			l := mustOpen(t, cfg)
			r := l.Report()
			if len(r.Damaged) != 1 {
				t.Fatalf("report %+v", r)
			}
			d := r.Damaged[0]
			if d.From != tt.from(first) {
				t.Errorf("lost from %d, want %d", d.From, tt.from(first))
			}
			if d.Aside != "" {
				if _, ok := before[d.Path[len(cfg.Dir)+1:]]; !ok {
					t.Errorf("set aside %q, which was not there", d.Aside)
				}
				if b, _ := os.ReadFile(d.Aside); string(b) != before[d.Path[len(cfg.Dir)+1:]] {
					t.Errorf("%q is not what the segment was", d.Aside)
				}
			}
			var want []string
			for i := 1; i <= 70; i++ {
				if uint64(i) < d.From || uint64(i) > d.To {
					want = append(want, fmt.Sprintf("%d row t %d", i, i))
				}
			}
			if got := replay(t, l, 0); !slices.Equal(got, want) {
				t.Errorf("replay = %q, want %q", got, want)
			}
			fill(t, l, 100, 101)
			before2 := replay(t, l, 0)
			if len(before2) != len(want)+2 {
				t.Errorf("after two more: %q", before2)
			}
			l.Close()

			// The damage is dealt with: the next start is an ordinary one.
			cfg.Quarantine = false
			l = mustOpen(t, cfg)
			if got := replay(t, l, 0); !slices.Equal(got, before2) {
				t.Errorf("second replay = %q", got)
			}
		})
	}
}

func TestNewerVersionIsLeftAlone(t *testing.T) {
	for _, which := range []int{0, 3} {
		cfg := written(t, 70)
		cfg.Quarantine = true
		files := segmentFiles(t, cfg.Dir)
		edit(t, files[which], func(b []byte) []byte {
			binary.LittleEndian.PutUint32(b[8:], formatVersion+1)
			return b[:200] // a torn end would be cut otherwise
		})
		before := contents(t, cfg.Dir)
		_, err := Open(cfg)
		var ve *VersionError
		if !errors.As(err, &ve) || ve.Version != formatVersion+1 || ve.Path != files[which] {
			t.Errorf("Open: %v", err)
		}
		if after := contents(t, cfg.Dir); fmt.Sprint(after) != fmt.Sprint(before) {
			t.Error("files were changed")
		}
	}
}

// A segment may end with frames that a later one has too: what was written
// when an fsync failed, or what a failed write left.
func TestLaterSegmentWins(t *testing.T) {
	cfg := written(t, 10)
	path := segmentFiles(t, cfg.Dir)[0]
	s, err := createSegment(openFile, cfg.Dir, 8, 7, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.f.Close()
	if _, err := s.f.WriteAt(appendFrame(nil, Record{Seq: 8, Kind: Row, ID: "t", Payload: []byte("instead")}), segmentHeader); err != nil {
		t.Fatal(err)
	}
	edit(t, path, func(b []byte) []byte { return b[:len(b)-1] })
	l := mustOpen(t, cfg)
	got := replay(t, l, 6)
	want := []string{"6 row t 6", "7 row t 7", "8 row t instead"}
	if !slices.Equal(got, want) {
		t.Errorf("replay = %q", got)
	}
	fill(t, l, 9, 9)
	if got := replay(t, l, 9); !slices.Equal(got, []string{"9 row t 9"}) {
		t.Errorf("then %q", got)
	}
}

func TestSecondProcessIsRefused(t *testing.T) {
	cfg := small(t.TempDir())
	l := mustOpen(t, cfg)
	_, err := Open(cfg)
	var le *LockedError
	if !errors.As(err, &le) || !strings.Contains(err.Error(), cfg.Dir) || !strings.Contains(err.Error(), fmt.Sprintf("process %d (", os.Getpid())) {
		t.Errorf("Open: %v", err)
	}
	l.Close()
	mustOpen(t, cfg)
}

package ledger

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// sums hashes the files of a directory.
func sums(t *testing.T, dir string) (out string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		out += fmt.Sprintf("%s %x\n", e.Name(), sha256.Sum256(b))
	}
	return out
}

// Check reports what Open reports, and leaves every byte to Open.
func TestCheckFindsWhatOpenFinds(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		do   func(t *testing.T, segments []string)
		torn bool
	}{
		{"whole", func(*testing.T, []string) {}, false},
		{"torn", func(t *testing.T, s []string) {
			last := s[len(s)-1]
			info, err := os.Stat(last)
			if err == nil {
				err = os.Truncate(last, info.Size()-3)
			}
			if err != nil {
				t.Fatal(err)
			}
		}, true},
		{"no header", func(t *testing.T, s []string) {
			if err := os.Truncate(s[len(s)-1], 20); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(s[len(s)-1], make([]byte, 20), 0o600); err != nil {
				t.Fatal(err)
			}
		}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cfg := small(t.TempDir())
			l := mustOpen(t, cfg)
			for i := range 100 {
				if _, err := l.Append(t.Context(), "t", make([]byte, 100+i)); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := l.Start(t.Context(), "open", nil); err != nil {
				t.Fatal(err)
			}
			if _, err := l.Append(t.Context(), "t", make([]byte, 100)); err != nil {
				t.Fatal(err)
			}
			l.Close()
			segments, err := filepath.Glob(filepath.Join(cfg.Dir, "*.wal"))
			if err != nil || len(segments) < 3 {
				t.Fatal(segments, err)
			}
			tt.do(t, segments)
			before := sums(t, cfg.Dir)
			got, err := Check(cfg.Dir)
			if err != nil {
				t.Fatal(err)
			}
			if after := sums(t, cfg.Dir); after != before {
				t.Errorf("Check changed the log:\n%swas\n%s", after, before)
			}
			want := mustOpen(t, cfg).Report()
			if got.Records != want.Records || got.Last != want.Last || got.Unsettled != want.Unsettled || len(got.Cut) != len(want.Cut) || (len(got.Cut) > 0) != tt.torn {
				t.Errorf("Check reports %+v, Open %+v; torn = %v", got, want, tt.torn)
			}
			for i := range got.Cut {
				if got.Cut[i].Bytes != want.Cut[i].Bytes || got.Cut[i].Offset != want.Cut[i].Offset || got.Cut[i].Reason != want.Cut[i].Reason {
					t.Errorf("Check cuts %+v, Open %+v", got.Cut[i], want.Cut[i])
				}
			}
		})
	}
}

func TestCheckRefusesDamage(t *testing.T) {
	t.Parallel()
	cfg := small(t.TempDir())
	l := mustOpen(t, cfg)
	for range 100 {
		if _, err := l.Append(t.Context(), "t", make([]byte, 100)); err != nil {
			t.Fatal(err)
		}
	}
	l.Close()
	segments, err := filepath.Glob(filepath.Join(cfg.Dir, "*.wal"))
	if err != nil || len(segments) < 3 {
		t.Fatal(segments, err)
	}
	if err := os.Truncate(segments[0], 200); err != nil {
		t.Fatal(err)
	}
	if _, err := Check(cfg.Dir); err == nil {
		t.Error("a log with a hole passes")
	} else if _, ok := errors.AsType[*CorruptError](err); !ok {
		t.Errorf("Check error %v, want a CorruptError", err)
	}
}

func TestLockKeepsOthersOut(t *testing.T) {
	t.Parallel()
	cfg := small(filepath.Join(t.TempDir(), "new"))
	lock, err := Lock(cfg.Dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, open := range []func() error{
		func() error { _, err := Open(cfg); return err },
		func() error { _, err := Lock(cfg.Dir); return err },
	} {
		if _, ok := errors.AsType[*LockedError](open()); !ok {
			t.Errorf("error %v, want a LockedError", open())
		}
	}
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	mustOpen(t, cfg)
	if _, err := Lock(cfg.Dir); err == nil {
		t.Error("an open log can be locked")
	}
}

package store

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestALeaseHasOneOwner(t *testing.T) {
	for name, dsn := range engines(t) {
		t.Run(name, func(t *testing.T) {
			db, other := open(t, dsn), open(t, dsn)
			take := func(db *DB, owner string, d time.Duration, want bool) {
				t.Helper()
				got, err := db.Lease(t.Context(), "compact", owner, d)
				if err != nil || got != want {
					t.Fatalf("Lease for %s = %v, %v, want %v", owner, got, err, want)
				}
			}
			take(db, "a", time.Hour, true)
			take(other, "b", time.Hour, false)
			take(db, "a", time.Hour, true) // prolonged
			if got, err := other.Lease(t.Context(), "something else", "b", time.Hour); err != nil || !got {
				t.Errorf("a lease of another name = %v, %v", got, err)
			}
			if err := other.Release(t.Context(), "compact", "b"); err != nil {
				t.Fatal(err)
			}
			take(other, "b", time.Hour, false) // b had nothing to release
			if err := db.Release(t.Context(), "compact", "a"); err != nil {
				t.Fatal(err)
			}
			take(other, "b", -time.Second, true) // over already
			take(db, "a", time.Hour, true)
			take(other, "b", time.Hour, false)
		})
	}
}

func TestALeaseIsTakenOnce(t *testing.T) {
	for name, dsn := range engines(t) {
		t.Run(name, func(t *testing.T) {
			dbs := []*DB{open(t, dsn), open(t, dsn)}
			var won atomic.Int32
			var wg sync.WaitGroup
			for i := range 16 {
				wg.Go(func() {
					got, err := dbs[i%2].Lease(t.Context(), "compact", string(rune('a'+i)), time.Hour)
					if err != nil {
						t.Error(err)
					}
					if got {
						won.Add(1)
					}
				})
			}
			wg.Wait()
			if n := won.Load(); n != 1 {
				t.Errorf("%d owners got the lease, want 1", n)
			}
		})
	}
}

func TestHousekeepingIsRemembered(t *testing.T) {
	for name, dsn := range engines(t) {
		t.Run(name, func(t *testing.T) {
			db := open(t, dsn)
			if at, ok, err := db.LastDone(t.Context(), "tables"); ok || err != nil {
				t.Errorf("LastDone before the first = %v, %v, %v", at, ok, err)
			}
			for _, want := range []time.Time{time.UnixMilli(1795233600000), time.UnixMilli(1795233600001)} {
				if err := db.SetLastDone(t.Context(), "tables", want); err != nil {
					t.Fatal(err)
				}
				if got, ok, err := db.LastDone(t.Context(), "tables"); !ok || err != nil || !got.Equal(want) {
					t.Errorf("LastDone = %v, %v, %v, want %v", got, ok, err, want)
				}
			}
		})
	}
}

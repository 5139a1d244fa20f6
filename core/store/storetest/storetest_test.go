package storetest

import (
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sallyport-gateway/sallyport/core/store"
)

// schema is everything that the migrations make.
func schema(t *testing.T, db *store.DB) []string {
	t.Helper()
	rows, err := db.Query(t.Context(), `SELECT type || ' ' || name || ' ' || coalesce(sql, '') FROM sqlite_master`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var all []string
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			t.Fatal(err)
		}
		all = append(all, s)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	slices.Sort(all)
	return all
}

// A copy has the schema of a database that was migrated by itself, and shares
// nothing with another copy.
func TestOpen(t *testing.T) {
	t.Parallel()
	plain, err := store.Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "state.db"), slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	one, other := Open(t), Open(t)
	want := schema(t, plain)
	if got := schema(t, one); len(want) == 0 || !slices.Equal(got, want) {
		t.Errorf("the schema is\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if err := one.Update(t.Context(), func(tx *store.Tx) error {
		_, err := tx.Exec(t.Context(), `CREATE TABLE only_here (x INTEGER)`)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	var n int
	err = other.QueryRow(t.Context(), `SELECT count(*) FROM only_here`).Scan(&n)
	if err == nil || !strings.Contains(err.Error(), "no such table") {
		t.Errorf("a table of one database is asked for in another: %v, want that there is none", err)
	}
}

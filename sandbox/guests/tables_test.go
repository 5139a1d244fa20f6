package guests_test

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"

	"github.com/sallyport-gateway/sallyport/sandbox/internal/session"
)

func cell(v any) string {
	if v == nil {
		return "NULL"
	}
	if n, ok := v.(json.Number); ok {
		return n.String()
	}
	return fmt.Sprintf("%q", v)
}

// made is the one table of the tests, built by the guest itself.
var made = sync.OnceValues(func() ([]byte, error) {
	s, err := session.Open(loaded, session.Setup{Trusted: true})
	if err != nil {
		return nil, err
	}
	defer s.Close()
	r, err := s.Exec(context.Background(), session.Program{Language: session.SQL, Code: `
		ATTACH 'file:/tmp/t.db' AS o;
		PRAGMA o.page_size = 8192; PRAGMA o.journal_mode = OFF; PRAGMA o.synchronous = OFF;
		BEGIN;
		CREATE TABLE o.t (id INTEGER, country TEXT, stars INTEGER, price REAL, raw BLOB);
		INSERT INTO o.t VALUES (1, 'DE', 5, 9.5, x'00ff'), (2, 'FR', 3, NULL, NULL), (3, 'DE', 4, 12.25, x''), (4, 'it''s "q"' || char(10) || 'é', 1, 1e300, NULL);
		COMMIT; DETACH o;`})
	if err != nil {
		return nil, err
	}
	if r.Exit != 0 {
		return nil, fmt.Errorf("make the table: %s", r.Stderr)
	}
	return s.ReadFile(context.Background(), "tmp/t.db")
})

const csvText = "id,country,stars\n1,DE,5\n2,FR,3\n3,DE,4\n"

func tables(t *testing.T) []session.Table {
	t.Helper()
	db, err := made()
	if err != nil {
		t.Fatal(err)
	}
	return []session.Table{
		{Name: "main.sales.reviews", Columns: []session.Column{{Name: "id", Type: "BIGINT"}}, Rows: 4, Database: db, CSV: []byte(csvText)},
		{Name: "main.sales.orders", Rows: 4, Database: db},
		{Name: "main.old.orders", Rows: 4, Database: db},
	}
}

// TestChanceOfEachSession: what a guest drew while its image was made is the same
// for everybody, so that no session may go on from there.
func TestChanceOfEachSession(t *testing.T) {
	for language, code := range map[string]string{
		session.Python: "import random, secrets, uuid\nrandom.random(), secrets.token_hex(), uuid.uuid4()",
		session.SQL:    "SELECT hex(randomblob(16)), random()",
		session.Shell:  "echo $RANDOM $RANDOM $RANDOM $RANDOM; mktemp",
	} {
		seen := map[string]bool{}
		for range 3 {
			s, err := session.Open(loaded, session.Setup{})
			if err != nil {
				t.Fatal(err)
			}
			r, err := s.Exec(t.Context(), session.Program{Language: language, Code: code})
			s.Close()
			if err != nil || r.Exit != 0 {
				t.Fatalf("%s: %+v, %v", language, r, err)
			}
			seen[fmt.Sprint(r.Stdout, r.Rows)] = true
		}
		if len(seen) != 3 {
			t.Errorf("%s: three sessions drew %v", language, seen)
		}
	}
}

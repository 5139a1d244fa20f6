package catalog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport-gateway/sallyport/core/access"
	"github.com/sallyport-gateway/sallyport/sdk/apierror"
)

const usageTable = "system.ai_gateway.usage"

// ownRig is a catalog with two tables of the gateway: one in the catalog
// system, one in a catalog that the configuration has too, and one in a catalog
// that it has not. fresh is asked for each; it may be replaced.
type ownRig struct {
	*Catalog
	acc    *access.Service
	eng    *scanner
	dir    string
	asked  []string
	fresh  func(ctx context.Context, name string) error
	logged bytes.Buffer
}

func newOwnRig(t *testing.T) *ownRig {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	r := &ownRig{dir: dir, eng: &scanner{}}
	r.acc = service(t, access.Config{
		Users: []access.User{{Name: "alice", Groups: []string{"analysts"}}, {Name: "bob"}, {Name: "root", Admin: true}},
		Grants: []access.Grant{
			{To: "analysts", Privileges: []string{"USE SCHEMA", "SELECT"}, On: "schema system.ai_gateway"},
			{To: "bob", Privileges: []string{"USE CATALOG", "USE SCHEMA", "SELECT"}, On: "catalog main"},
		},
	})
	own := Own{Fresh: func(ctx context.Context, name string) error {
		r.asked = append(r.asked, name)
		if r.fresh == nil {
			return nil
		}
		return r.fresh(ctx, name)
	}}
	for _, name := range []string{usageTable, "main.gateway.sonnet_payload", "logs.gateway.gpt_payload"} {
		location := filepath.Join(dir, "tables", name)
		write(t, filepath.Join(location, "a.parquet"), "n\n1\n")
		write(t, filepath.Join(location, "b.parquet"), "n\n2\n")
		commit(t, location, 0, protocol, metadata(name), added("a.parquet", "2026-01-01"))
		own.Tables = append(own.Tables, OwnTable{Name: name, Location: location, Comment: "Rows of " + name})
	}
	write(t, filepath.Join(dir, "t.csv"), "n\n7\n")
	c, err := New(Config{"main": {"s": {Tables: map[string]Table{"t": {Location: "t.csv"}}}}}, dir, own, r.acc, r.eng, slog.New(slog.NewTextHandler(&r.logged, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	r.Catalog = c
	return r
}

func (r *ownRig) as(t *testing.T, name string) View {
	t.Helper()
	p, err := r.acc.Lookup(name, []string{"all"}, "")
	if err != nil {
		t.Fatal(err)
	}
	return r.As(p)
}

func TestOwnTables(t *testing.T) {
	t.Parallel()
	r := newOwnRig(t)
	for who, want := range map[string][]string{
		"alice": {usageTable},
		"bob":   {"main.gateway.sonnet_payload", "main.s.t"},
		"root":  {"logs.gateway.gpt_payload", "main.gateway.sonnet_payload", "main.s.t", usageTable},
	} {
		v := r.as(t, who)
		if got := v.Tables(); !slices.Equal(got, want) {
			t.Errorf("%s: Tables() = %q, want %q", who, got, want)
		}
		for _, name := range []string{usageTable, "main.gateway.sonnet_payload", "logs.gateway.gpt_payload"} {
			code := apierror.Code("")
			if !slices.Contains(want, name) {
				code = apierror.Denied
			}
			before := len(r.asked)
			_, err := rows(t.Context(), v, Query{SQL: "SELECT * FROM " + name})
			if apierror.CodeOf(err) != code {
				t.Errorf("%s: query of %s: %v, want code %q", who, name, err, code)
			}
			o, err := v.Object(t.Context(), "table", name)
			if apierror.CodeOf(err) != code {
				t.Errorf("%s: object %s: %v, want code %q", who, name, err, code)
			}
			if code == "" && (o.Comment != "Rows of "+name || o.Format != "delta" || len(o.Columns) != 2) {
				t.Errorf("%s: object %s = %+v", who, name, o)
			}
			var asked []string
			if code == "" {
				asked = []string{name, name}
			}
			if got := r.asked[before:]; !slices.Equal(got, asked) {
				t.Errorf("%s: %s: fresh was asked for %q, want %q: it is for those who may look", who, name, got, asked)
			}
		}
		if err := v.Check("table", usageTable, "MODIFY"); !apierror.Is(err, apierror.Denied) {
			t.Errorf("%s: MODIFY on %s: %v, want denied", who, usageTable, err)
		}
	}
	before := len(r.asked)
	if _, err := rows(t.Context(), r.as(t, "root"), Query{SQL: "SELECT * FROM main.s.t"}); err != nil || len(r.asked) != before {
		t.Errorf("a table of the configuration: %v, and fresh was asked for %q", err, r.asked[before:])
	}
	if _, err := rows(t.Context(), r.as(t, "root"), Query{SQL: "SELECT * FROM " + usageTable + " JOIN " + strings.ToUpper(usageTable) + " JOIN usage", Catalog: "System", Schema: "AI_Gateway"}); err != nil {
		t.Error(err)
	}
	if got := r.asked[before:]; !slices.Equal(got, []string{usageTable}) {
		t.Errorf("one table mentioned three times: fresh was asked for %q, want once", got)
	}
	if got := r.Roots(); !slices.Contains(got, filepath.Join(r.dir, "tables", usageTable)) {
		t.Errorf("Roots() = %q, want the tables of the gateway in it", got)
	}
}

// What Fresh commits is seen by the query that asked for it.
func TestFreshRowsAreSeen(t *testing.T) {
	t.Parallel()
	r := newOwnRig(t)
	v := r.as(t, "root")
	q := Query{SQL: "SELECT * FROM " + usageTable}
	if got, err := rows(t.Context(), v, q); err != nil || len(got) != 1 {
		t.Fatalf("rows = %q, %v, want one", got, err)
	}
	r.fresh = func(_ context.Context, name string) error {
		commit(t, filepath.Join(r.dir, "tables", name), 1, added("b.parquet", "2026-01-02"))
		return nil
	}
	if got, err := rows(t.Context(), v, q); err != nil || len(got) != 2 {
		t.Errorf("rows = %q, %v, want those that fresh committed too", got, err)
	}
}

// When Fresh fails or hangs, the rows that are in the files are shown, and the
// log says so, not at every query.
func TestFreshThatFails(t *testing.T) {
	t.Parallel()
	r := newOwnRig(t)
	v := r.as(t, "root")
	r.fresh = func(context.Context, string) error { return errors.New("the disk is full") }
	for range 5 {
		if got, err := rows(t.Context(), v, Query{SQL: "SELECT * FROM " + usageTable}); err != nil || len(got) != 1 {
			t.Fatalf("rows = %q, %v, want the committed one", got, err)
		}
	}
	if said := r.logged.String(); strings.Count(said, "without its newest rows") != 1 || !strings.Contains(said, "the disk is full") || !strings.Contains(said, usageTable) {
		t.Errorf("the log says %s, want it once with table and reason", said)
	}
}

func TestFreshIsGivenTenSeconds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &Catalog{log: quiet(), fresh: func(ctx context.Context, _ string) error {
			<-ctx.Done()
			return ctx.Err()
		}}
		start := time.Now()
		c.freshen(t.Context(), &table{own: true})
		if got := time.Since(start); got != freshWall {
			t.Errorf("waited %v for rows that do not come, want %v", got, freshWall)
		}
		for i, want := range []bool{false, true, false} {
			if i == 1 {
				time.Sleep(tellEvery)
			}
			if got := c.told.again(time.Now()); got != want {
				t.Errorf("message %d is told: %v, want %v", i, got, want)
			}
		}
	})
}

func TestNamesOfOwnTablesAreTaken(t *testing.T) {
	t.Parallel()
	acc := service(t, access.Config{})
	cfg := Config{"Main": {"Gateway": {Tables: map[string]Table{"Sonnet_Payload": {Location: "x.csv"}, "other": {Location: "x.csv"}}}}}
	tests := []struct {
		own  []OwnTable
		want string // "" is none
	}{
		{[]OwnTable{{Name: "main.gateway.gpt_payload", Location: "/t"}}, ""},
		{[]OwnTable{{Name: "main.gateway.sonnet_payload", Location: "/t"}}, "catalog.main.gateway.tables.sonnet_payload: the gateway itself writes a table of this name"},
		{[]OwnTable{{Name: "a.b.c", Location: "/t"}, {Name: "A.b.C", Location: "/u"}}, "the gateway writes two tables called a.b.c"},
		{[]OwnTable{{Name: "a.b", Location: "/t"}}, `"a.b" is no name`},
		{[]OwnTable{{Name: "a.b.c", Location: "t"}}, `its location "t" is not absolute`},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprint(tt.own), func(t *testing.T) {
			c, err := New(cfg, t.TempDir(), Own{Tables: tt.own}, acc, nil, quiet())
			if err == nil {
				c.Close()
			}
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("New = %v, want %q", err, tt.want)
			}
		})
	}
	if err := (Config{"System": {"ai_gateway": {Tables: map[string]Table{"usage": {Location: "x.csv"}}}}}).Validate(); err == nil || !strings.Contains(err.Error(), "catalog.System: the catalog system belongs to the gateway") {
		t.Errorf("a table of the configuration in the catalog system: %v", err)
	}
}

func TestShortNamesWithinASchema(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	tests := []struct {
		sql, catalog, schema string
		ok                   bool
	}{
		{"SELECT * FROM reviews", "main", "sales", true},
		{"SELECT * FROM REVIEWS", "Main", "Sales", true},
		{"SELECT * FROM sales.reviews", "main", "", true},
		{"SELECT * FROM sales.reviews", "main", "hr", true},
		{"SELECT * FROM main.sales.reviews", "other", "other", true},
		{"SELECT * FROM reviews", "main", "", false},
		{"SELECT * FROM reviews", "", "sales", false},
		{"SELECT * FROM salaries", "main", "hr", false}, // without the right
		{"SELECT * FROM reviews", "main", "s.x", false},
	}
	for _, tt := range tests {
		got, err := rows(t.Context(), r.as(t, "alice"), Query{SQL: tt.sql, Catalog: tt.catalog, Schema: tt.schema})
		if (err == nil) != tt.ok || tt.ok && len(got) != 2 {
			t.Errorf("%s in %s.%s: %q, %v, want it to work: %v", tt.sql, tt.catalog, tt.schema, got, err, tt.ok)
		}
	}
	got, err := rows(t.Context(), r.as(t, "alice"), Query{SQL: "SELECT * FROM salaries", Tables: []string{"main.sales.reviews"}, Catalog: "main", Schema: "hr"})
	if !apierror.Is(err, apierror.Invalid) {
		t.Errorf("with declared tables: %q, %v, want that they alone count", got, err)
	}
}

package catalog

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/sallyport-gateway/sallyport/core/access"
	"github.com/sallyport-gateway/sallyport/core/store"
	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/engine"
)

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

func service(t *testing.T, cfg access.Config) *access.Service {
	t.Helper()
	db, err := store.Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "state.db"), quiet())
	if err != nil {
		t.Fatal(err)
	}
	acc, err := access.New(cfg, db, quiet())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(acc.Close(), db.Close()); err != nil {
			t.Error(err)
		}
	})
	return acc
}

// rig is a catalog of four tables and four people: alice may read reviews and
// orders of sales, bob nothing, eve everything of main but without the way to
// it, and root is the administrator.
type rig struct {
	dir string
	cfg access.Config
	acc *access.Service
	eng *scanner
	c   *Catalog
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{dir: t.TempDir(), eng: &scanner{}}
	r.cfg = access.Config{
		Users: []access.User{{Name: "alice", Groups: []string{"analysts"}}, {Name: "bob"}, {Name: "eve"}, {Name: "root", Admin: true}},
		Grants: []access.Grant{
			{To: "analysts", Privileges: []string{"USE CATALOG", "USE SCHEMA"}, On: "catalog main"},
			{To: "analysts", Privileges: []string{"SELECT"}, On: "table main.sales.reviews"},
			{To: "analysts", Privileges: []string{"SELECT"}, On: "table main.sales.orders"},
			{To: "eve", Privileges: []string{"SELECT"}, On: "catalog main"},
		},
	}
	r.acc = service(t, r.cfg)
	write(t, filepath.Join(r.dir, "reviews.csv"), "stars,text\n5,good\n1,bad\n")
	write(t, filepath.Join(r.dir, "orders", "a.csv"), "id,amount\n1,10\n")
	write(t, filepath.Join(r.dir, "orders", "b.csv"), "id,amount\n2,20\n")
	write(t, filepath.Join(r.dir, "salaries.csv"), "name,salary\nroot,1\n")
	write(t, filepath.Join(r.dir, "hr-reviews.csv"), "name,verdict\nalice,fine\n")
	c, err := New(Config{
		"main": {
			"sales": {Tables: map[string]Table{
				"Reviews": {Location: "reviews.csv", Comment: "One row per review", Columns: map[string]Column{"Stars": {Comment: "1 to 5"}}},
				"orders":  {Location: "orders", Format: "csv"},
			}},
			"hr": {Tables: map[string]Table{
				"salaries": {Location: "salaries.csv"},
				"reviews":  {Location: "hr-reviews.csv"},
			}},
		},
	}, r.dir, Own{}, r.acc, Described{r.eng, engine.Manifest{Dialect: "Scanner"}}, quiet())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	r.c = c
	return r
}

func (r *rig) as(t *testing.T, name string) View {
	t.Helper()
	p, err := r.acc.Lookup(name, []string{"all"}, "")
	if err != nil {
		t.Fatal(err)
	}
	return r.c.As(p)
}

// rows runs q to its end.
func rows(ctx context.Context, v View, q Query) ([]string, error) {
	var out []string
	for b, err := range v.Query(ctx, q) {
		if err != nil {
			return out, err
		}
		for _, r := range b.Rows {
			out = append(out, string(r))
		}
	}
	return out, nil
}

func TestQuery(t *testing.T) {
	t.Parallel()
	declared := []string{"main.sales.reviews", "main.sales.orders"}
	reviews := []string{`["5,good"]`, `["1,bad"]`}
	tests := []struct {
		name, as, sql string
		tables        []string
		want          []string
		relations     []string
		code          apierror.Code
		says          string
	}{
		{name: "full name", as: "alice", sql: "SELECT * FROM main.sales.reviews", tables: declared, want: reviews, relations: []string{"main.sales.reviews"}},
		{name: "quoted, other case", as: "alice", sql: "select * from `Main`.\"SALES\".Reviews", tables: declared, want: reviews, relations: []string{"main.sales.reviews"}},
		{name: "short name", as: "alice", sql: "SELECT * FROM reviews", tables: declared, want: reviews, relations: []string{"reviews"}},
		{name: "two parts", as: "alice", sql: "SELECT * FROM sales.reviews", tables: declared, want: reviews, relations: []string{"sales.reviews"}},
		{name: "join", as: "alice", sql: "SELECT * FROM reviews JOIN main.sales.orders JOIN Reviews", tables: declared,
			want: []string{`["5,good"]`, `["1,bad"]`, `["1,10"]`, `["2,20"]`}, relations: []string{"reviews", "main.sales.orders"}},
		{name: "everything she may read", as: "alice", sql: "SELECT * FROM main.sales.reviews", want: reviews, relations: []string{"main.sales.reviews"}},
		{name: "no table", as: "bob", sql: "SELECT 1", tables: declared, relations: nil},
		{name: "administrator", as: "root", sql: "SELECT * FROM main.hr.salaries", want: []string{`["root,1"]`}, relations: []string{"main.hr.salaries"}},

		{name: "not declared", as: "alice", sql: "SELECT * FROM main.sales.orders", tables: declared[:1], code: apierror.Invalid,
			says: `Table "main.sales.orders" is not declared in this request. Declared tables: main.sales.reviews.`},
		{name: "not declared, administrator", as: "root", sql: "SELECT * FROM main.hr.salaries", tables: declared, code: apierror.Invalid,
			says: `Table "main.hr.salaries" is not declared in this request. Declared tables: main.sales.orders, main.sales.reviews.`},
		{name: "nothing declared", as: "alice", sql: "SELECT * FROM reviews", tables: []string{}, code: apierror.Invalid, says: "no other table is"},
		{name: "a suffix of letters is no suffix of parts", as: "alice", sql: "SELECT * FROM views", tables: declared, code: apierror.Invalid, says: "not declared"},
		{name: "ambiguous", as: "root", sql: "SELECT * FROM reviews", tables: []string{"main.sales.reviews", "main.hr.reviews"}, code: apierror.Invalid,
			says: `Table "reviews" could be any of main.hr.reviews, main.sales.reviews. Write the full name.`},
		{name: "short name without declarations", as: "alice", sql: "SELECT * FROM reviews", code: apierror.Invalid,
			says: `Write the full name, catalog.schema.table. Tables you may read: main.sales.orders, main.sales.reviews.`},
		{name: "declared without the right", as: "bob", sql: "SELECT * FROM reviews", tables: declared, code: apierror.Denied, says: "SELECT on table main.sales.reviews"},
		{name: "without the right", as: "alice", sql: "SELECT * FROM main.hr.salaries", code: apierror.Denied, says: "SELECT on table main.hr.salaries"},
		{name: "absent", as: "alice", sql: "SELECT * FROM main.hr.nothing", code: apierror.Denied, says: "SELECT on table main.hr.nothing"},
		{name: "one of two without the right", as: "alice", sql: "SELECT * FROM main.sales.reviews JOIN main.hr.salaries", code: apierror.Denied, says: "main.hr.salaries"},
		{name: "SELECT without the way", as: "eve", sql: "SELECT * FROM main.sales.reviews", code: apierror.Denied, says: "USE CATALOG on catalog main and USE SCHEMA on schema main.sales."},
		{name: "absent, administrator", as: "root", sql: "SELECT * FROM main.sales.review", code: apierror.NotFound, says: "Did you mean main.sales.reviews?"},
		{name: "nothing to read", as: "bob", sql: "SELECT * FROM reviews", code: apierror.Invalid, says: "you have no table to read"},
		{name: "a file", as: "root", sql: "SELECT * FROM /etc/passwd", tables: declared, code: apierror.Invalid, says: "not declared"},
		{name: "a file without declarations", as: "root", sql: "SELECT * FROM /etc/passwd", code: apierror.Invalid, says: "not known"},
		{name: "four parts", as: "root", sql: "SELECT * FROM x.main.sales.reviews", tables: declared, code: apierror.Invalid, says: "not declared"},
		{name: "the engine's own tables", as: "root", sql: "SELECT * FROM information_schema.tables", tables: declared, code: apierror.Invalid, says: "not declared"},
		{name: "another statement", as: "root", sql: "COPY t TO 'x'", tables: declared, code: apierror.Invalid, says: "Only a SELECT statement can run here; this is COPY."},
		{name: "empty", as: "root", sql: "", tables: declared, code: apierror.Invalid, says: "empty"},
		{name: "too long", as: "root", sql: "SELECT " + strings.Repeat("1", maxSQL), tables: declared, code: apierror.Invalid, says: "at most 262144"},
		{name: "too many tables", as: "root", sql: "SELECT * " + strings.Repeat("FROM reviews ", maxNames+1), tables: declared, code: apierror.Invalid, says: "at most 64"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			q := Query{SQL: tt.sql, Args: []any{int64(7)}, Tables: tt.tables, MaxRows: 3, MaxBytes: 4, Wall: 5}
			got, err := rows(t.Context(), r.as(t, tt.as), q)
			if apierror.CodeOf(err) != tt.code || err != nil && !strings.Contains(err.Error(), tt.says) {
				t.Fatalf("error %v (%s), want %s with %q", err, apierror.CodeOf(err), tt.code, tt.says)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("rows = %q, want %q", got, tt.want)
			}
			asked := r.eng.asked()
			if tt.code != "" {
				if len(asked) != 0 {
					t.Errorf("the engine was asked %v, want nothing", asked)
				}
				return
			}
			var names []string
			for _, rel := range asked[0].Relations {
				names = append(names, rel.Name)
			}
			if !slices.Equal(names, tt.relations) {
				t.Errorf("relations = %q, want %q", names, tt.relations)
			}
			if a := asked[0]; a.SQL != tt.sql || !reflect.DeepEqual(a.Args, q.Args) || a.MaxRows != 3 || a.MaxBytes != 4 || a.Wall != 5 {
				t.Errorf("the engine was asked %+v, want the query as it was", a)
			}
		})
	}
}

// Whatever people, grants and statements there are, the engine only ever gets
// files of tables that the caller may SELECT and the request declares.
func TestNoFileReachesTheEngineWithoutTheRight(t *testing.T) {
	t.Parallel()
	var ran, refused int
	for seed := range uint64(40) {
		rnd := rand.New(rand.NewPCG(seed, 7))
		r := newRig(t)
		names := r.c.names
		readable := map[string]bool{}
		cfg := access.Config{Users: []access.User{{Name: "u"}}}
		way := rnd.IntN(4) > 0
		if way {
			cfg.Grants = append(cfg.Grants, access.Grant{To: "u", Privileges: []string{"USE CATALOG", "USE SCHEMA"}, On: "catalog main"})
		}
		for _, n := range names {
			if rnd.IntN(2) == 0 {
				cfg.Grants = append(cfg.Grants, access.Grant{To: "u", Privileges: []string{"SELECT"}, On: "table " + n})
				readable[n] = way
			}
		}
		if err := errors.Join(r.acc.Stage(cfg), r.acc.Commit()); err != nil {
			t.Fatal(err)
		}
		v := r.as(t, "u")
		for range 50 {
			var declared []string
			if rnd.IntN(3) > 0 {
				declared = []string{}
				for _, n := range names {
					if rnd.IntN(2) == 0 {
						declared = append(declared, n)
					}
				}
			}
			sql := "SELECT 1"
			for range 1 + rnd.IntN(3) {
				n := names[rnd.IntN(len(names))]
				for range rnd.IntN(3) {
					_, n, _ = strings.Cut(n, ".")
				}
				if n == "" {
					n = "reviews"
				}
				sql += " FROM " + n
			}
			before := len(r.eng.asked())
			if _, err := rows(t.Context(), v, Query{SQL: sql, Tables: declared}); err != nil {
				refused++
				if len(r.eng.asked()) != before {
					t.Fatalf("world %d: %s was refused after the engine was asked", seed, sql)
				}
				continue
			}
			ran++
			for _, rel := range r.eng.asked()[before].Relations {
				for _, f := range rel.Files {
					of := ""
					for n, tb := range r.c.tables {
						if f.Path == tb.location || strings.HasPrefix(f.Path, tb.location+"/") {
							of = n.String()
						}
					}
					if !readable[of] || declared != nil && !slices.Contains(declared, of) {
						t.Fatalf("world %d: %s with %v declared read %s, a file of %s", seed, sql, declared, f.Path, of)
					}
				}
			}
		}
	}
	if ran < 50 || refused < 50 {
		t.Errorf("%d ran and %d were refused: the worlds prove nothing", ran, refused)
	}
}

func TestARevokedGrantStopsTheNextQuery(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	v := r.as(t, "alice")
	q := Query{SQL: "SELECT * FROM reviews", Tables: []string{"main.sales.reviews"}}
	if _, err := rows(t.Context(), v, q); err != nil {
		t.Fatal(err)
	}
	if _, err := v.Object(t.Context(), "table", "main.sales.reviews"); err != nil {
		t.Fatal(err)
	}
	r.cfg.Grants = r.cfg.Grants[:1]
	if err := errors.Join(r.acc.Stage(r.cfg), r.acc.Commit()); err != nil {
		t.Fatal(err)
	}
	if _, err := rows(t.Context(), v, q); !apierror.Is(err, apierror.Denied) {
		t.Errorf("query after the revocation gives %v, want denied", err)
	}
	if _, err := v.Object(t.Context(), "table", "main.sales.reviews"); !apierror.Is(err, apierror.Denied) {
		t.Errorf("object after the revocation gives %v, want denied, although its columns are remembered", err)
	}
	if got := v.Tables(); len(got) != 0 {
		t.Errorf("Tables() after the revocation = %q, want none", got)
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	tests := []struct {
		as, kind, name, privilege string
		code                      apierror.Code
	}{
		{"alice", "table", "Main.Sales.`Reviews`", "select", ""},
		{"alice", "TABLE", "main.hr.salaries", "SELECT", apierror.Denied},
		{"bob", "table", "main.sales.reviews", "SELECT", apierror.Denied},
		{"root", "table", "main.hr.salaries", "SELECT", ""},
		{"root", "table", "main.hr.nothing", "SELECT", apierror.NotFound},
		{"alice", "table", "main.sales", "SELECT", apierror.Invalid},
		{"alice", "function", "f", "EXECUTE", apierror.Invalid},
		{"alice", "genie_space", "01ef", "CAN_RUN", apierror.Denied},
		{"alice", "planet", "mars", "CAN_RUN", apierror.Denied},
		{"alice", "table", "main.sales.reviews", "SELETC", apierror.Internal},
	}
	for _, tt := range tests {
		if err := r.as(t, tt.as).Check(tt.kind, tt.name, tt.privilege); apierror.CodeOf(err) != tt.code {
			t.Errorf("%s: Check(%s, %s, %s) = %v, want code %q", tt.as, tt.kind, tt.name, tt.privilege, err, tt.code)
		}
	}
	for _, tt := range []struct{ as, name, privilege, hint string }{
		{"alice", "main.sales.reviwes", "SELECT", " Did you mean main.sales.reviews?"},
		{"alice", "main.sale.reviews", "SELECT", " Did you mean main.sales.reviews?"},
		{"alice", "main.hr.reviews", "SELECT", ""},
		{"alice", "main.hr.salaries", "SELECT", ""},
		{"alice", "main.hr.salary", "SELECT", ""},
		{"alice", "main.sales.reviews", "MODIFY", ""},
		{"bob", "main.sales.reviwes", "SELECT", ""},
	} {
		err := r.as(t, tt.as).Check("table", tt.name, tt.privilege)
		if !apierror.Is(err, apierror.Denied) || strings.Contains(err.Error(), "Did you mean") != (tt.hint != "") || !strings.HasSuffix(err.Error(), tt.hint) {
			t.Errorf("%s: Check(%s, %s) = %v, want denied with hint %q", tt.as, tt.name, tt.privilege, err, tt.hint)
		}
	}
	if err := r.c.As(nil).Check("table", "main.sales.reviews", "SELECT"); !apierror.Is(err, apierror.Unauthenticated) {
		t.Errorf("nobody: %v, want unauthenticated", err)
	}
}

// A hint does not tell a hidden table from one that is not there.
func TestHintsAreTheSameForHiddenAndAbsentTables(t *testing.T) {
	t.Parallel()
	tables := map[string]Table{"orders": {Location: "a.csv"}, "order": {Location: "b.csv"}}
	acc := service(t, access.Config{Users: []access.User{{Name: "alice"}}, Grants: []access.Grant{
		{To: "alice", Privileges: []string{"USE CATALOG", "USE SCHEMA"}, On: "catalog main"},
		{To: "alice", Privileges: []string{"SELECT"}, On: "table main.sales.orders"},
	}})
	p, err := acc.Lookup("alice", nil, "")
	if err != nil {
		t.Fatal(err)
	}
	var said []string
	for range 2 {
		c, err := New(Config{"main": {"sales": {Tables: tables}}}, t.TempDir(), Own{}, acc, nil, quiet())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		err = c.As(p).Check("table", "main.sales.order", "SELECT")
		if !apierror.Is(err, apierror.Denied) || !strings.HasSuffix(err.Error(), " Did you mean main.sales.orders?") {
			t.Errorf("Check = %v, want denied with a hint", err)
		}
		said = append(said, err.Error())
		delete(tables, "order")
	}
	if said[0] != said[1] {
		t.Errorf("hidden: %s\nabsent: %s", said[0], said[1])
	}
}

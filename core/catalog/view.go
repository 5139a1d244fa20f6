package catalog

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/sallyport-gateway/sallyport/core/access"
	"github.com/sallyport-gateway/sallyport/core/spelling"
	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/engine"
	"github.com/sallyport-gateway/sallyport/sdk/tool"
)

const (
	// maxSQL is the longest statement, in bytes.
	maxSQL = 256 << 10
	// maxNames is how many tables one statement may mention.
	maxNames = 64
	// maxListed is how many names a message lists.
	maxListed = 20
)

// View is the catalog with the rights of one principal. Rights are asked anew
// at every call, so a View may be kept for the length of a run.
type View struct {
	c *Catalog
	p *access.Principal
}

// Query is a statement and what it may touch.
type Query struct {
	SQL  string
	Args []any
	// Tables are the canonical names of the tables declared in the request.
	// Nil is everything the caller may SELECT. Either way each is checked.
	Tables []string
	// Catalog and Schema are where names of fewer parts are looked for when
	// Tables is nil. Without them such names are unknown.
	Catalog, Schema string

	MaxRows  int           // 0 means 1000
	MaxBytes int64         // 0 means 1 MiB
	Wall     time.Duration // 0 means 30 s
}

// Check returns nil if the caller has the privilege on the object; see
// access.Service.Check. A name that cannot be one is apierror.Invalid.
func (v View) Check(kind, name, privilege string) error {
	on, err := securable(kind, name)
	if err != nil {
		return err
	}
	priv, err := access.ParsePrivilege(privilege)
	if err != nil {
		return fmt.Errorf("catalog: check %s: %v", on, err) // a fault of a plugin's manifest, not of the caller
	}
	return v.check(priv, on)
}

// check asks access, and adds to a refusal the table that the caller may have
// meant. The hint depends on what the caller may SELECT alone, so a hidden
// table and an absent one still read the same.
func (v View) check(priv access.Privilege, on access.Securable) error {
	err := v.c.acc.Check(v.p, priv, on)
	e, ok := errors.AsType[*apierror.Error](err)
	if !ok || e.Code != apierror.Denied || on.Kind != access.Table {
		return err
	}
	near := v.nearest(on.Name)
	if near == "" {
		return err
	}
	hinted := *e
	hinted.Message += " Did you mean " + near + "?"
	return &hinted
}

// nearest is the table that the caller may SELECT and name may be a misspelling
// of, in each of its parts; "" if none is.
func (v View) nearest(name string) string {
	parts := strings.Split(name, ".")
	var near []string
	for _, known := range v.Tables() {
		if known == name {
			continue
		}
		theirs := strings.Split(known, ".")
		like := len(parts) == len(theirs)
		for i := 0; like && i < len(parts); i++ {
			like = parts[i] == theirs[i] || spelling.Nearest(parts[i], theirs[i:i+1]) != ""
		}
		if like {
			near = append(near, known)
		}
	}
	return spelling.Nearest(name, near)
}

func securable(kind, name string) (access.Securable, error) {
	if k, err := access.ParseKind(kind); err == nil && k == access.Table {
		n, err := ParseName(name)
		return n.table(), err
	}
	return access.NewSecurable(kind, name)
}

// Canonical is the one form of a name of an object of kind; apierror.Invalid
// if it is none.
func Canonical(kind, name string) (string, error) {
	s, err := securable(kind, name)
	return s.Name, err
}

// Object describes a table that the caller may SELECT: its columns with types
// and comments, and a version that changes with its content. The first call
// for a version starts an engine.
func (v View) Object(ctx context.Context, kind, name string) (tool.Object, error) {
	on, err := securable(kind, name)
	if err != nil {
		return tool.Object{}, err
	}
	if on.Kind != access.Table {
		return tool.Object{}, apierror.New(apierror.Unsupported, "This gateway keeps no objects of kind %s yet.", show(kind))
	}
	t, err := v.table(on)
	if err != nil {
		return tool.Object{}, err
	}
	v.c.freshen(ctx, t)
	got, err := v.c.content(ctx, t)
	if err != nil {
		return tool.Object{}, err
	}
	cols, err := v.c.describe(ctx, t, got)
	if err != nil {
		return tool.Object{}, err
	}
	o := tool.Object{Kind: on.Kind, Name: on.Name, Comment: t.comment, Columns: slices.Clone(cols), Version: got.version, Format: string(t.format)}
	if o.Comment == "" {
		o.Comment = got.comment
	}
	if d, ok := v.c.eng.(Described); ok {
		o.Dialect = d.Manifest.Dialect
	}
	return o, nil
}

// table returns the table if the caller may SELECT it.
func (v View) table(on access.Securable) (*table, error) {
	if err := v.check(access.Select, on); err != nil {
		return nil, err
	}
	n, err := ParseName(on.Name)
	if err != nil {
		return nil, err
	}
	t := v.c.tables[n]
	if t == nil { // announced by somebody else, or by a newer configuration
		return nil, apierror.New(apierror.NotFound, "There is no table %s.", on.Name)
	}
	return t, nil
}

// Tables are the canonical names of all tables the caller may SELECT, sorted.
func (v View) Tables() []string {
	var out []string
	for _, name := range v.c.names {
		if v.c.acc.Allowed(v.p, access.Select, access.Securable{Kind: access.Table, Name: name}) {
			out = append(out, name)
		}
	}
	return out
}

// Query runs one SELECT. It finds the tables that the statement mentions,
// checks that the caller may SELECT each, and gives the engine the files of
// these and no others: a name that escaped Inspect does not exist for the
// engine, so reading the statement is never what permits.
//
// What the author of the SQL can mend is apierror.Invalid, or Denied for a
// table without the right to it. The caller's turn with the engine comes within
// admissionWait, or the error is apierror.RateLimited; the loop over the rows
// holds it until it ends.
func (v View) Query(ctx context.Context, q Query) iter.Seq2[engine.Batch, error] {
	return func(yield func(engine.Batch, error) bool) {
		relations, err := v.relations(ctx, q)
		if err != nil {
			yield(engine.Batch{}, err)
			return
		}
		leave, err := v.c.turns.enter(ctx, party{v.p.Kind, v.p.Name}, v.p.Admin)
		if err != nil {
			yield(engine.Batch{}, err)
			return
		}
		defer leave()
		for b, err := range v.c.eng.Query(ctx, engine.Query{
			SQL: q.SQL, Args: q.Args, Relations: relations, MaxRows: q.MaxRows, MaxBytes: q.MaxBytes, Wall: q.Wall,
		}) {
			if !yield(b, err) || err != nil {
				return
			}
		}
	}
}

// relations is everything that q may read.
func (v View) relations(ctx context.Context, q Query) ([]engine.Relation, error) {
	if v.c.eng == nil {
		return nil, noEngine()
	}
	if len(q.SQL) > maxSQL {
		return nil, apierror.New(apierror.Invalid, "The SQL has %d bytes; at most %d are read. Put long lists of values into a table, or ask in several statements.", len(q.SQL), maxSQL)
	}
	st, err := v.c.eng.Inspect(ctx, q.SQL)
	if err != nil {
		return nil, err
	}
	if st.Kind != "select" {
		return nil, apierror.New(apierror.Invalid, "Only a SELECT statement can run here; this is %s.", strings.ToUpper(strings.Trim(show(st.Kind), `"`)))
	}
	if len(st.Names) > maxNames {
		return nil, apierror.New(apierror.Invalid, "The SQL mentions %d tables; at most %d are read at once.", len(st.Names), maxNames)
	}
	var out []engine.Relation
	seen := map[string]bool{}
	contents := map[Name]content{}
	for _, written := range st.Names {
		n, as, err := v.resolve(written, q)
		if err != nil {
			return nil, err
		}
		if seen[as] {
			continue
		}
		seen[as] = true
		t, err := v.table(n.table())
		if err != nil {
			return nil, err
		}
		got, ok := contents[n]
		if !ok {
			v.c.freshen(ctx, t)
			if got, err = v.c.content(ctx, t); err != nil {
				if errors.Is(err, ErrUnreadable) {
					v.c.log.Warn("the files of a table cannot be read", "table", n.String(), "location", t.location, "error", errors.Unwrap(err))
				}
				return nil, err
			}
			if len(got.files) == 0 && got.columns == nil {
				return nil, apierror.Wrap(apierror.Unavailable, errNoFiles, "Table %s has no files yet.", n)
			}
			contents[n] = got
		}
		out = append(out, t.relation(as, got))
	}
	return out, nil
}

// resolve finds the table that a statement means, and the form of the name to
// give the engine. A short name works where it can mean only one declared
// table, or where q says what it is in.
func (v View) resolve(written string, q Query) (n Name, as string, err error) {
	declared := q.Tables
	parts, ok := splitName(written)
	if !ok || len(parts) > 3 {
		return n, "", v.unknown(written, declared)
	}
	as = strings.Join(parts, ".")
	if declared == nil {
		if len(parts) == 1 && q.Schema != "" {
			parts = append([]string{strings.ToLower(q.Schema)}, parts...)
		}
		if len(parts) == 2 && q.Catalog != "" {
			parts = append([]string{strings.ToLower(q.Catalog)}, parts...)
		}
		if len(parts) != 3 {
			return n, "", v.unknown(written, nil)
		}
		return Name{parts[0], parts[1], parts[2]}, as, nil
	}
	var matches []string
	for _, d := range declared {
		d = strings.ToLower(d)
		if d == as || strings.HasSuffix(d, "."+as) {
			matches = append(matches, d)
		}
	}
	slices.Sort(matches)
	switch matches = slices.Compact(matches); len(matches) {
	case 0:
		return n, "", v.unknown(written, declared)
	case 1:
		n, err = ParseName(matches[0])
		return n, as, err
	}
	return n, "", apierror.New(apierror.Invalid, "Table %s could be any of %s. Write the full name.", show(written), listed(matches))
}

// unknown is the refusal of a name, with the names that would work.
func (v View) unknown(written string, declared []string) error {
	if declared == nil {
		names := v.Tables()
		if len(names) == 0 {
			return apierror.New(apierror.Invalid, "Table %s is not known, and you have no table to read. An administrator can grant SELECT on one.", show(written))
		}
		return apierror.New(apierror.Invalid, "Table %s is not known. Write the full name, catalog.schema.table. Tables you may read: %s.", show(written), listed(names))
	}
	if len(declared) == 0 {
		return apierror.New(apierror.Invalid, "Table %s is not declared in this request, and no other table is.", show(written))
	}
	return apierror.New(apierror.Invalid, "Table %s is not declared in this request. Declared tables: %s.", show(written), listed(slices.Sorted(slices.Values(declared))))
}

func listed(names []string) string {
	if len(names) <= maxListed {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:maxListed], ", "), len(names)-maxListed)
}

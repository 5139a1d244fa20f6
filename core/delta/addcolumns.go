package delta

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// AddColumns gives the table the columns of want that it lacks, at its end, and
// its structs the fields they lack, at theirs; and sets properties, which may
// not begin with "delta.". Files that are there already have null in what was
// added. It is one commit, and none when there is nothing to do.
//
// Columns that the table has and want has not stay. It is an error, and nothing
// is changed, when a column is of another type than want says, and when what is
// to be added must not be null. The error wraps ErrConflict when somebody else
// changed the schema or the properties at the same time.
func (t *Table) AddColumns(ctx context.Context, want Schema, properties map[string]string) (Commit, error) {
	fail := func(err error) (Commit, error) { return Commit{}, fmt.Errorf("delta: add columns: %w", err) }
	for name := range properties {
		if strings.HasPrefix(name, "delta.") {
			return fail(fmt.Errorf("%w: table property %s cannot be changed", ErrUnsupported, name))
		}
	}
	if err := t.Refresh(ctx); err != nil {
		return Commit{}, err
	}
	f := t.current()
	merged, err := f.schema.With(want)
	if err != nil {
		return fail(err)
	}
	m := *f.metadata
	m.Configuration = maps.Clone(m.Configuration)
	if m.Configuration == nil {
		m.Configuration = map[string]string{}
	}
	maps.Copy(m.Configuration, properties)
	p := &plan{form: f, operation: "SET TBLPROPERTIES", metadata: &m, params: map[string]string{"properties": jsonText(properties)}}
	if text := merged.String(); text != f.schema.String() {
		added := merged[len(f.schema):]
		m.SchemaString = text
		p.operation, p.params = "ADD COLUMNS", map[string]string{"columns": added.String()}
		if len(added) == 0 {
			p.operation, p.params = "CHANGE COLUMNS", map[string]string{}
		}
	} else if maps.Equal(m.Configuration, f.metadata.Configuration) {
		return Commit{Version: t.Version()}, nil
	}
	if _, err := newForm(&m); err != nil {
		return fail(err)
	}
	return t.commit(ctx, p)
}

// With is s with the columns of want that it lacks: see Table.AddColumns.
func (s Schema) With(want Schema) (Schema, error) {
	if err := want.check(); err != nil {
		return nil, err
	}
	merged, err := mergeFields("", Struct(s), Struct(want))
	return Schema(merged), err
}

// mergeFields is have with what want has more.
func mergeFields(path string, have, want Struct) (Struct, error) {
	merged := slices.Clone(have)
	for _, w := range want {
		name := join(path, w.Name)
		i := slices.IndexFunc(merged, func(f Field) bool { return strings.EqualFold(f.Name, w.Name) })
		if i < 0 {
			if w.NotNull {
				return nil, fmt.Errorf("column %q cannot be added: it must not be null, and is in the rows that are there", name)
			}
			merged = append(merged, w)
			continue
		}
		if merged[i].Name != w.Name {
			return nil, fmt.Errorf("column %q: the table calls it %q", name, join(path, merged[i].Name))
		}
		typ, err := mergeType(name, merged[i].Type, w.Type)
		if err != nil {
			return nil, err
		}
		merged[i].Type = typ
	}
	return merged, nil
}

func mergeType(path string, have, want Type) (Type, error) {
	differ := fmt.Errorf("column %q is of type %s in the table and not %s", path, have.SQL(), want.SQL())
	switch h := have.(type) {
	case Struct:
		if w, ok := want.(Struct); ok {
			return mergeFields(path, h, w)
		}
	case Array:
		if w, ok := want.(Array); ok {
			element, err := mergeType(join(path, "element"), h.Element, w.Element)
			return Array{element, h.NotNull}, err
		}
	case Map:
		if w, ok := want.(Map); ok {
			key, err := mergeType(join(path, "key"), h.Key, w.Key)
			if err != nil {
				return nil, err
			}
			value, err := mergeType(join(path, "value"), h.Value, w.Value)
			return Map{key, value, h.NotNull}, err
		}
	default:
		switch want.(type) {
		case Primitive, Decimal:
			if have == want {
				return have, nil
			}
		}
	}
	return nil, differ
}

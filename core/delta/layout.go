package delta

import (
	"math"
	"reflect"

	"github.com/parquet-go/parquet-go"
)

// A layout is how the columns of a table lie in its Parquet files: every
// value optional except the keys of maps, lists as list.element, maps as
// key_value.key and .value, columns in the order of the schema.
// Source: Delta protocol, "Delta Data Type to Parquet Type Mappings".
type layout struct {
	columns []*column // top-level
	leaves  []*leaf
}

// column is a value's place: a column, a field of a struct, the element of an
// array, or the key or value of a map.
type column struct {
	name     string // "element", "key" and "value" inside arrays and maps
	path     string // for messages
	typ      Type
	notNull  bool
	def, rep int       // levels of a value that is present
	children []*column // fields; or the element; or key and value
	leaf     *leaf     // of primitives and decimals
	first    *leaf     // the first leaf at or below
	leaves   []*leaf   // all leaves at or below
}

// leaf is a Parquet column.
type leaf struct {
	index    int
	typ      Type
	def, rep int  // highest levels
	dict     bool // dictionary-encoded, unless a file does without

	// counts, when not nil, is the column whose nulls are this leaf's to count:
	// itself, or the outermost array or map around it if it is the first leaf
	// there. ordered says that the bounds are wanted too.
	counts  *column
	ordered bool
}

// newLayout lays out the columns of s that are not partition columns.
func newLayout(s Schema, partition func(string) bool) *layout {
	l := &layout{}
	for _, f := range s {
		if !partition(f.Name) {
			l.columns = append(l.columns, l.add(f.Name, f.Name, f.Type, f.NotNull, 1, 0, false))
		}
	}
	return l
}

// schema is the Parquet schema of a file in which the leaves of which noDict
// says so have no dictionary. nil is none of them.
func (l *layout) schema(noDict []bool) *parquet.Schema {
	return parquet.NewSchema("table", groupNode(l.columns, noDict))
}

func groupNode(columns []*column, noDict []bool) parquet.Node {
	fields := make([]parquet.Field, len(columns))
	for i, c := range columns {
		fields[i] = namedNode{parquet.Optional(c.node(noDict)), c.name}
	}
	return newGroup(fields)
}

// node is the column's value in the Parquet schema, when present.
func (c *column) node(noDict []bool) parquet.Node {
	switch c.typ.(type) {
	case Struct:
		return groupNode(c.children, noDict)
	case Array:
		return parquet.List(parquet.Optional(c.children[0].node(noDict)))
	case Map:
		return parquet.Map(c.children[0].node(noDict), parquet.Optional(c.children[1].node(noDict)))
	}
	switch node := leafNode(c.typ); {
	case !c.leaf.dict:
		return node
	case noDict != nil && noDict[c.leaf.index]:
		return parquet.Encoded(node, &parquet.Plain)
	default:
		return parquet.Encoded(node, &parquet.RLEDictionary)
	}
}

// add places a value of type t; def and rep are its levels when present.
func (l *layout) add(name, path string, t Type, notNull bool, def, rep int, inList bool) *column {
	c := &column{name: name, path: path, typ: t, notNull: notNull, def: def, rep: rep}
	from := len(l.leaves)
	switch t := t.(type) {
	case Struct:
		for _, f := range t {
			c.children = append(c.children, l.add(f.Name, join(path, f.Name), f.Type, f.NotNull, def+1, rep, inList))
		}
	case Array:
		c.children = []*column{l.add("element", join(path, "element"), t.Element, t.NotNull, def+2, rep+1, true)}
	case Map:
		c.children = []*column{
			l.add("key", join(path, "key"), t.Key, true, def+1, rep+1, true),
			l.add("value", join(path, "value"), t.Value, t.NotNull, def+2, rep+1, true),
		}
	default:
		c.leaf = &leaf{index: len(l.leaves), typ: t, def: def, rep: rep}
		l.leaves = append(l.leaves, c.leaf)
		c.leaf.dict = t == String || t == Binary || t == Integer || t == Short || t == Byte || t == Date
		if !inList {
			c.leaf.counts = c
			c.leaf.ordered = t != Binary && t != Boolean
		}
	}
	c.leaves = l.leaves[from:len(l.leaves):len(l.leaves)]
	c.first = c.leaves[0]
	if _, isStruct := t.(Struct); !isStruct && c.leaf == nil && !inList {
		c.first.counts = c
	}
	return c
}

func leafNode(t Type) parquet.Node {
	switch t := t.(type) {
	case Decimal:
		return parquet.Decimal(t.Scale, t.Precision, decimalPhysical(t.Precision))
	case Primitive:
		switch t {
		case String:
			return parquet.String()
		case Long:
			return parquet.Int(64)
		case Integer:
			return parquet.Int(32)
		case Short:
			return parquet.Int(16)
		case Byte:
			return parquet.Int(8)
		case Double:
			return parquet.Leaf(parquet.DoubleType)
		case Float:
			return parquet.Leaf(parquet.FloatType)
		case Boolean:
			return parquet.Leaf(parquet.BooleanType)
		case Date:
			return parquet.Date()
		case Timestamp:
			return parquet.Timestamp(parquet.Microsecond)
		}
	}
	return parquet.Leaf(parquet.ByteArrayType)
}

// decimalPhysical is the Parquet type of a decimal: the smallest that holds
// every number of that many digits.
func decimalPhysical(precision int) parquet.Type {
	switch {
	case precision <= 9:
		return parquet.Int32Type
	case precision <= 18:
		return parquet.Int64Type
	}
	return parquet.FixedLenByteArrayType(decimalBytes(precision))
}

// decimalBytes is how many bytes a signed number of that many digits needs.
func decimalBytes(precision int) int {
	return int(math.Ceil((float64(precision)*math.Log2(10) + 1) / 8))
}

// namedNode is a field of a group.
type namedNode struct {
	parquet.Node
	name string
}

func (n namedNode) Name() string                           { return n.name }
func (n namedNode) Value(base reflect.Value) reflect.Value { return base.FieldByName(n.name) }

// group is a parquet.Group whose fields keep their order.
type group struct {
	parquet.Group
	fields []parquet.Field
}

func newGroup(fields []parquet.Field) parquet.Node {
	g := group{Group: parquet.Group{}, fields: fields}
	for _, f := range fields {
		g.Group[f.Name()] = f
	}
	return g
}

func (g group) Fields() []parquet.Field { return g.fields }

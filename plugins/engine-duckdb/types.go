//go:build cgo

package main

import (
	"strconv"
	"strings"

	duckdb "github.com/duckdb/duckdb-go-bindings"
)

// sqlType is a type of DuckDB, read once for a result.
type sqlType struct {
	id     duckdb.Type
	name   string // as DuckDB writes it
	json   bool   // a VARCHAR that holds JSON
	store  duckdb.Type
	scale  int
	size   int // of an ARRAY
	labels []string
	fields []string   // of a STRUCT or UNION
	sub    []*sqlType // of a nested type; for a MAP key and value
}

var simpleNames = map[duckdb.Type]string{
	duckdb.TypeBoolean: "BOOLEAN", duckdb.TypeTinyInt: "TINYINT", duckdb.TypeSmallInt: "SMALLINT", duckdb.TypeInteger: "INTEGER",
	duckdb.TypeBigInt: "BIGINT", duckdb.TypeUTinyInt: "UTINYINT", duckdb.TypeUSmallInt: "USMALLINT", duckdb.TypeUInteger: "UINTEGER",
	duckdb.TypeUBigInt: "UBIGINT", duckdb.TypeHugeInt: "HUGEINT", duckdb.TypeUHugeInt: "UHUGEINT", duckdb.TypeBigNum: "BIGNUM",
	duckdb.TypeFloat: "FLOAT", duckdb.TypeDouble: "DOUBLE", duckdb.TypeVarchar: "VARCHAR", duckdb.TypeBlob: "BLOB", duckdb.TypeBit: "BIT",
	duckdb.TypeUUID: "UUID", duckdb.TypeDate: "DATE", duckdb.TypeTime: "TIME", duckdb.TypeTimeNS: "TIME_NS", duckdb.TypeTimeTZ: "TIME WITH TIME ZONE",
	duckdb.TypeTimestamp: "TIMESTAMP", duckdb.TypeTimestampS: "TIMESTAMP_S", duckdb.TypeTimestampMS: "TIMESTAMP_MS", duckdb.TypeTimestampNS: "TIMESTAMP_NS",
	duckdb.TypeTimestampTZ: "TIMESTAMP WITH TIME ZONE", duckdb.TypeInterval: "INTERVAL", duckdb.TypeSQLNull: "NULL",
}

// readType reads t, and destroys it. It returns nil for a type that has no
// JSON form here.
func readType(t duckdb.LogicalType) *sqlType {
	defer duckdb.DestroyLogicalType(&t)
	s := &sqlType{id: duckdb.GetTypeId(t)}
	switch s.id {
	case duckdb.TypeDecimal:
		s.scale, s.store = int(duckdb.DecimalScale(t)), duckdb.DecimalInternalType(t)
		s.name = "DECIMAL(" + strconv.Itoa(int(duckdb.DecimalWidth(t))) + "," + strconv.Itoa(s.scale) + ")"
	case duckdb.TypeEnum:
		s.store = duckdb.EnumInternalType(t)
		s.labels = make([]string, duckdb.EnumDictionarySize(t))
		quoted := make([]string, len(s.labels))
		for i := range s.labels {
			s.labels[i] = duckdb.EnumDictionaryValue(t, duckdb.IdxT(i))
			quoted[i] = literal(s.labels[i])
		}
		s.name = "ENUM(" + strings.Join(quoted, ", ") + ")"
	case duckdb.TypeList:
		s.sub = []*sqlType{readType(duckdb.ListTypeChildType(t))}
		if s.sub[0] != nil {
			s.name = s.sub[0].name + "[]"
		}
	case duckdb.TypeArray:
		s.sub, s.size = []*sqlType{readType(duckdb.ArrayTypeChildType(t))}, int(duckdb.ArrayTypeArraySize(t))
		if s.sub[0] != nil {
			s.name = s.sub[0].name + "[" + strconv.Itoa(s.size) + "]"
		}
	case duckdb.TypeMap:
		s.sub = []*sqlType{readType(duckdb.MapTypeKeyType(t)), readType(duckdb.MapTypeValueType(t))}
		if s.sub[0] != nil && s.sub[1] != nil {
			s.name = "MAP(" + s.sub[0].name + ", " + s.sub[1].name + ")"
		}
	case duckdb.TypeStruct:
		for i := range duckdb.StructTypeChildCount(t) {
			s.fields = append(s.fields, duckdb.StructTypeChildName(t, i))
			s.sub = append(s.sub, readType(duckdb.StructTypeChildType(t, i)))
		}
		s.name = "STRUCT(" + s.members() + ")"
	case duckdb.TypeUnion:
		for i := range duckdb.UnionTypeMemberCount(t) {
			s.fields = append(s.fields, duckdb.UnionTypeMemberName(t, i))
			s.sub = append(s.sub, readType(duckdb.UnionTypeMemberType(t, i)))
		}
		s.name = "UNION(" + s.members() + ")"
	default:
		name, ok := simpleNames[s.id]
		if !ok {
			return nil
		}
		s.name = name
		if s.id == duckdb.TypeVarchar && duckdb.LogicalTypeGetAlias(t) == "JSON" {
			s.name, s.json = "JSON", true
		}
	}
	for _, c := range s.sub {
		if c == nil {
			return nil
		}
	}
	return s
}

func (s *sqlType) members() string {
	var b strings.Builder
	for i, c := range s.sub {
		if c == nil {
			return ""
		}
		if i > 0 {
			b.WriteString(", ")
		}
		if s.fields[i] != "" {
			b.WriteString(quote(s.fields[i]) + " ")
		}
		b.WriteString(c.name)
	}
	return b.String()
}

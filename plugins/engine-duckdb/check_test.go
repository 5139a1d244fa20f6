//go:build cgo

package main

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
)

// refused are the functions of the pinned DuckDB that a statement may not
// call: they tell of settings, sessions, catalogs, other statements and the
// engine's insides, or only wait.
const refused = `__internal_compress_integral_ubigint __internal_compress_integral_uinteger __internal_compress_integral_usmallint
__internal_compress_integral_utinyint __internal_compress_string_hugeint __internal_compress_string_ubigint __internal_compress_string_uhugeint
__internal_compress_string_uinteger __internal_compress_string_usmallint __internal_compress_string_utinyint __internal_decompress_integral_bigint
__internal_decompress_integral_hugeint __internal_decompress_integral_integer __internal_decompress_integral_smallint
__internal_decompress_integral_ubigint __internal_decompress_integral_uhugeint __internal_decompress_integral_uinteger
__internal_decompress_integral_usmallint __internal_decompress_string can_cast_implicitly cast_to_type col_description combine constant_or_null
create_sort_key current_catalog current_connection_id current_database current_query current_query_id current_role current_schema current_schemas
current_setting current_transaction_id current_user currval finalize format_pg_type get_block_size get_type getvariable has_any_column_privilege
has_column_privilege has_database_privilege has_foreign_data_wrapper_privilege has_function_privilege has_language_privilege has_schema_privilege
has_sequence_privilege has_server_privilege has_table_privilege has_tablespace_privilege in_search_path inet_client_addr inet_client_port
inet_server_addr inet_server_port is_histogram_other_bin json_deserialize_sql json_serialize_plan json_serialize_sql make_type map_to_pg_oid nextval
obj_description parse_duckdb_log_message pg_collation_is_visible pg_conf_load_time pg_conversion_is_visible pg_function_is_visible
pg_get_constraintdef pg_get_expr pg_get_viewdef pg_has_role pg_is_other_temp_schema pg_my_temp_schema pg_opclass_is_visible pg_operator_is_visible
pg_opfamily_is_visible pg_postmaster_start_time pg_size_pretty pg_sleep pg_table_is_visible pg_ts_config_is_visible pg_ts_dict_is_visible
pg_ts_parser_is_visible pg_ts_template_is_visible pg_type_is_visible pg_typeof remap_struct replace_type session_user setseed shobj_description
sleep_ms st_asbinary st_astext st_aswkb st_aswkt st_crs st_geomfromwkb st_intersects_extent st_setcrs stats txid_current user
variant_bytes_to_variant variant_normalize variant_to_parquet_variant vector_type version write_log`

// A newer DuckDB brings functions that nobody has judged: this test names them.
func TestEveryFunctionIsJudged(t *testing.T) {
	t.Parallel()
	d, err := openDuck()
	if err != nil {
		t.Fatal(err)
	}
	defer d.close()
	text, err := d.text("SELECT string_agg(DISTINCT function_name, ' ' ORDER BY function_name) || ? FROM duckdb_functions() WHERE function_type IN ('scalar', 'aggregate', 'macro')", "")
	if err != nil {
		t.Fatal(err)
	}
	library, allowed, denied := strings.Fields(text), strings.Fields(functionList), strings.Fields(refused)
	for _, f := range library {
		if slices.Contains(allowed, f) == slices.Contains(denied, f) {
			t.Errorf("function %s must be either in functions.txt or among the refused", f)
		}
	}
	for _, f := range slices.Concat(allowed, denied) {
		if !slices.Contains(library, f) {
			t.Errorf("function %s is judged, but this DuckDB has none of that name", f)
		}
	}
}

// FuzzResolve holds what the walker promises for whatever text: no panic, only
// errors a client may see, and no table in the outcome that is not a relation.
func FuzzResolve(f *testing.F) {
	d, err := openDuck()
	if err != nil {
		f.Fatal(err)
	}
	defer d.close()
	for _, h := range hostile {
		if len(h.sql) < 1000 {
			f.Add(h.sql)
		}
	}
	f.Add("WITH a AS (FROM main.sales.reviews) SELECT main.sales.reviews.id FROM a, main . \"sales\" /* */ . reviews x")
	relations := []name{{"main", "sales", "reviews"}, {"", "s", "t"}, {"", "", "u"}}
	r := newRules()
	f.Fuzz(func(t *testing.T, sql string) {
		if len(sql) > 4<<10 || strings.ContainsRune(sql, 0) {
			return
		}
		c := child{duck: d, rules: r}
		_, p, err := c.parse(sql)
		if err != nil {
			if _, ok := errors.AsType[*duckError](err); !ok && apierror.CodeOf(err) != apierror.Invalid {
				t.Fatalf("parse: %v", err)
			}
			return
		}
		out, err := p.resolve(relations)
		if err != nil {
			if apierror.CodeOf(err) != apierror.Invalid {
				t.Fatalf("resolve: %v", err)
			}
			return
		}
		_, again, err := c.parse(out)
		if err != nil {
			t.Fatalf("%q became %q, which cannot be read: %v", sql, out, err)
		}
		if len(again.tables) != len(p.tables) {
			t.Fatalf("%q became %q, with %d tables, want %d", sql, out, len(again.tables), len(p.tables))
		}
		for i, m := range again.tables {
			if want := p.tables[i].name.view().fold(); m.name.fold() != want {
				t.Fatalf("%q became %q: table %s, want %s", sql, out, m.name, want)
			}
		}
	})
}

// Trees that no DuckDB would write must not get through either.
func TestParseUnknownNodes(t *testing.T) {
	t.Parallel()
	tests := []struct{ node, text string }{
		{`{"type":"NEW_NODE"}`, "new_node"},
		{`{"type":"SELECT_NODE","select_list":[{"class":"NEW_EXPRESSION","type":"X"}]}`, "new_expression"},
		{`{"type":"SELECT_NODE","from_table":{"type":"DELIM_GET"}}`, "delim_get"},
		{`{"type":"SELECT_NODE","from_table":{"type":"TABLE_FUNCTION"}}`, "table function"},
		{`{"type":"SELECT_NODE","from_table":{"type":"TABLE_FUNCTION","function":{"class":"FUNCTION","function_name":"read_text"}}}`, "read_text"},
		{`{"type":"SELECT_NODE","from_table":{"type":"TABLE_FUNCTION","function":{"class":"FUNCTION","function_name":"range","catalog":"x"}}}`, "x.range"},
		{`{"type":"SELECT_NODE","any":[[[{"deep":{"type":"BASE_TABLE","table_name":"t","query_location":0}}]]]}`, "Table t"},
		{`{"type":"SELECT_NODE","from_table":{"type":"BASE_TABLE","table_name":"u","query_location":99}}`, "cannot be read here"},
		{`{"type":"SELECT_NODE","from_table":{"type":"BASE_TABLE","table_name":"u","query_location":18446744073709551615}}`, "cannot be read here"},
	}
	for _, tt := range tests {
		_, p, err := newRules().parse("SELECT 1", `{"error":false,"statements":[{"node":`+tt.node+`}]}`)
		if err == nil {
			_, err = p.resolve([]name{{"", "", "u"}})
		}
		wantCode(t, err, apierror.Invalid, tt.text)
	}
	if _, _, err := newRules().parse("SELECT 1", "not json"); err == nil {
		t.Error("parse took a tree that is no JSON")
	}
}

func percentile(ds []time.Duration, p int) float64 {
	slices.Sort(ds)
	return float64(ds[len(ds)*p/100].Microseconds()) / 1000
}

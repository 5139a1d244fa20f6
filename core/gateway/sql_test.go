package gateway_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/sallyport-gateway/sallyport/core/access"
	"github.com/sallyport-gateway/sallyport/core/gateway"
	"github.com/sallyport-gateway/sallyport/core/gatewaytest"
	"github.com/sallyport-gateway/sallyport/core/sqlapi"
	"github.com/sallyport-gateway/sallyport/examples/samples"
)

const statements = "/api/2.0/sql/statements"

// sqlReply is the answer to a statement, with the HTTP status.
type sqlReply struct {
	status int
	raw    string
	sqlapi.Reply
}

// rows are those of the result; null is "<null>".
func (r sqlReply) rows(t *testing.T) [][]string {
	t.Helper()
	if r.Status.State != "SUCCEEDED" {
		t.Fatalf("got %d %s", r.status, r.raw)
	}
	var all [][]*string
	if err := json.Unmarshal(r.Result.Data, &all); err != nil {
		t.Fatalf("%v in %s", err, r.raw)
	}
	out := [][]string{}
	for _, row := range all {
		line := []string{}
		for _, v := range row {
			if v == nil {
				null := "<null>"
				v = &null
			}
			line = append(line, *v)
		}
		out = append(out, line)
	}
	return out
}

func (r sqlReply) message() string {
	if r.Status.Error == nil {
		return ""
	}
	return r.Status.Error.Message
}

func runSQL(t *testing.T, g *gatewaytest.Gateway, token string, body any) sqlReply {
	t.Helper()
	if s, ok := body.(string); ok {
		body = object{"statement": s}
	}
	var r sqlReply
	status, _, raw := g.Post(token, statements, body)
	r.status, r.raw = status, string(raw)
	if err := json.Unmarshal(raw, &r.Reply); err != nil {
		t.Fatalf("got %d %s: %v", status, raw, err)
	}
	return r
}

func TestStatements(t *testing.T) {
	t.Parallel()
	g := gatewaytest.Start(t, demo, sampleDir(t, samples.Seed))
	token := g.Token("alice@example.com")
	r := runSQL(t, g, token, "SELECT count(*) AS n, min(stars) AS least, NULL AS nothing, 'a\"b' AS text, true AS yes, 1.50 AS price, 'NaN'::DOUBLE AS nan, "+
		"DATE '2026-11-01' AS d, TIMESTAMPTZ '2026-11-01 10:00:00+02' AS at, {'x': 0.10, 'l': [1, 2]} AS s, MAP {'k': 1} AS m, 12345678901234567890123456789 AS big FROM main.sales.reviews")
	want := []string{"3958", "1", "<null>", `a"b`, "true", "1.50", "NaN", "2026-11-01", "2026-11-01T08:00:00Z", `{"x":0.10,"l":[1,2]}`, `{"k":1}`, "12345678901234567890123456789"}
	if got := r.rows(t); r.status != 200 || len(got) != 1 || !slices.Equal(got[0], want) {
		t.Errorf("got %d %q, want %q", r.status, got, want)
	}
	var types, names []string
	for i, c := range r.Manifest.Schema.Columns {
		types, names = append(types, c.TypeName+" "+c.TypeText), append(names, c.Name)
		if c.Position != i {
			t.Errorf("column %s is at %d, want %d", c.Name, c.Position, i)
		}
	}
	wantTypes := []string{"LONG BIGINT", "INT INT", "INT INT", "STRING STRING", "BOOLEAN BOOLEAN", "DECIMAL DECIMAL(3,2)", "DOUBLE DOUBLE", "DATE DATE", "TIMESTAMP TIMESTAMP",
		"STRUCT STRUCT<x: DECIMAL(3,2), l: ARRAY<INT>>", "MAP MAP<STRING, INT>", "DECIMAL DECIMAL(38,0)"}
	if !slices.Equal(types, wantTypes) || names[3] != "text" {
		t.Errorf("columns %q of types %q, want %q", names, types, wantTypes)
	}
	if m := r.Manifest; r.StatementID == "" || m.Format != "JSON_ARRAY" || m.Rows != 1 || m.Truncated || m.Schema.Count != 12 || r.Result.Rows != 1 {
		t.Errorf("got %s", r.raw)
	}

	for _, tt := range []struct {
		name  string
		body  object
		rows  int64
		trunc bool
	}{
		{"row_limit", object{"statement": "SELECT * FROM main.sales.reviews", "row_limit": 7}, 7, true},
		{"row_limit that is enough", object{"statement": "SELECT * FROM range(7)", "row_limit": 7}, 7, false},
		{"default row_limit", object{"statement": "SELECT * FROM range(20000)"}, sqlapi.DefaultRows, true},
		{"byte_limit", object{"statement": "SELECT repeat('x', 998) FROM range(100)", "byte_limit": 10_020}, 10, true},
		{"no rows", object{"statement": "SELECT 1 WHERE false"}, 0, false},
		{"what makes no difference", object{"statement": "SELECT 1", "warehouse_id": "x", "wait_timeout": "30s", "on_wait_timeout": "CANCEL", "format": "JSON_ARRAY", "disposition": "INLINE"}, 1, false},
		{"catalog and schema", object{"statement": "SELECT * FROM reviews LIMIT 3", "catalog": "main", "schema": "sales"}, 3, false},
		{"parameters", object{"statement": "SELECT * FROM main.sales.reviews WHERE stars = :stars AND ':stars' <> :text LIMIT :n", "parameters": []object{
			{"name": "stars", "value": "5", "type": "INT"}, {"name": "text", "value": "'; --"}, {"name": "n", "value": "4", "type": "BIGINT"}}}, 4, false},
	} {
		r := runSQL(t, g, token, tt.body)
		if got := len(r.rows(t)); int64(got) != tt.rows || r.Manifest.Rows != tt.rows || r.Manifest.Truncated != tt.trunc {
			t.Errorf("%s: %d rows, truncated %v, want %d, %v", tt.name, got, r.Manifest.Truncated, tt.rows, tt.trunc)
		}
	}
	r = runSQL(t, g, token, object{"statement": "SELECT :d, :e, :f, :g, :h", "parameters": []object{{"name": "d", "value": "2026-11-01", "type": "DATE"}, {"name": "e", "value": "0.1", "type": "DECIMAL(18,12)"},
		{"name": "f", "value": "2026-11-01T00:00:00.000001Z", "type": "TIMESTAMP"}, {"name": "g"}, {"name": "h", "value": "true", "type": "BOOLEAN"}}})
	if got, want := r.rows(t)[0], []string{"2026-11-01", "0.100000000000", "2026-11-01T00:00:00.000001Z", "<null>", "true"}; !slices.Equal(got, want) {
		t.Errorf("parameters: got %q, want %q", got, want)
	}
	if status, _, raw := g.Post(token, statements+"/", `{"statement":"SELECT 1"}`); status != 200 || !strings.Contains(string(raw), "SUCCEEDED") {
		t.Errorf("with a slash at the end: got %d %s", status, raw)
	}
}

// What is wrong with the SQL is a statement that failed; what is wrong with the
// request is an error that names the field.
func TestStatementsThatFail(t *testing.T) {
	t.Parallel()
	g := gatewaytest.Start(t, demo, sampleDir(t, samples.Seed))
	alice, nobody, root := g.Token("alice@example.com"), g.Token("nobody@example.com"), g.Token("root@example.com")
	const grants = "An administrator (root@example.com) can add under access.grants in the gateway's configuration: "
	for _, tt := range []struct{ token, sql, state, says string }{
		{root, "DELETE FROM main.sales.reviews", "42000", "Only a SELECT statement can run here; this is DELETE."},
		{root, "INSERT INTO system.ai_gateway.usage SELECT * FROM system.ai_gateway.usage", "42000", "this is INSERT"},
		{root, "CREATE TABLE system.ai_gateway.mine AS SELECT 1", "42000", "this is CREATE"},
		{root, "SELECT 1; SELECT 2", "42000", "Only one statement"},
		{root, "SELEC 1", "42000", "syntax error"},
		{root, "SELECT * FROM '/etc/passwd'", "42000", "not known"},
		{root, "SELECT * FROM read_csv('/etc/passwd')", "42000", "read_csv"},
		{root, "SELECT * FROM reviews", "42000", "Write the full name"},
		{root, "SELECT nothing FROM main.sales.reviews", "42000", "nothing"},
		{root, "SELECT * FROM main.sales.reviwes", "42P01", "There is no table main.sales.reviwes."},
		{root, "SELECT CAST('x' AS INT)", "42000", "'x'"},
		{alice, "SELECT * FROM main.sales.orders", "42501", "Permission denied for table main.sales.orders: it does not exist, or alice@example.com lacks SELECT on table main.sales.orders. " + grants},
		{alice, "SELECT * FROM system.ai_gateway.usage", "42501", "Permission denied for table system.ai_gateway.usage: it does not exist, or alice@example.com lacks USE SCHEMA on schema system.ai_gateway and SELECT on table system.ai_gateway.usage. " + grants +
			"{to: alice@example.com, privileges: [USE SCHEMA], on: schema system.ai_gateway}, {to: alice@example.com, privileges: [SELECT], on: table system.ai_gateway.usage}."},
		{nobody, "SELECT * FROM main.sales.reviews", "42501", "lacks USE CATALOG on catalog main and USE SCHEMA on schema main.sales and SELECT on table main.sales.reviews"},
	} {
		r := runSQL(t, g, tt.token, tt.sql)
		if r.status != 200 || r.Status.State != "FAILED" || r.Status.Error.Code != "BAD_REQUEST" || r.Status.SQLState != tt.state || !strings.Contains(r.message(), tt.says) || r.Manifest != nil {
			t.Errorf("%s: got %d %s, want FAILED, %s and %q", tt.sql, r.status, r.raw, tt.state, tt.says)
		}
		if strings.Contains(r.raw, "/samples/") {
			t.Errorf("%s: the answer has a path: %s", tt.sql, r.raw)
		}
	}
	for _, tt := range []struct {
		token  string
		body   any
		status int
		param  string
		says   string
	}{
		{alice, `{`, 400, "", "not a JSON object"},
		{alice, `[]`, 400, "", "not a JSON object"},
		{alice, `{}`, 400, "statement", "missing"},
		{alice, `{"statement": 5}`, 400, "statement", "must not be a JSON number"},
		{alice, object{"statement": "SELECT 1", "row_limit": 100_001}, 400, "row_limit", "100000"},
		{alice, object{"statement": "SELECT 1", "row_limit": -1}, 400, "row_limit", "100000"},
		{alice, object{"statement": "SELECT 1", "byte_limit": 30 << 20}, 400, "byte_limit", "26214400"},
		{alice, object{"statement": "SELECT 1", "format": "ARROW_STREAM"}, 400, "format", "JSON_ARRAY"},
		{alice, object{"statement": "SELECT 1", "disposition": "EXTERNAL_LINKS"}, 400, "disposition", "INLINE"},
		{alice, object{"statement": "SELECT :x", "parameters": []object{{"name": "x", "type": "INTERVAL", "value": "1"}}}, 400, "parameters[0].type", "INTERVAL"},
		{alice, object{"statement": "SELECT :y", "parameters": []object{{"name": "x"}}}, 400, "parameters", ":y"},
		{g.Token("alice@example.com", "ai-gateway"), object{"statement": "SELECT 1"}, 403, "", "required scopes: unity-catalog"},
		{"", object{"statement": "SELECT 1"}, 401, "", "token"},
	} {
		status, _, raw := g.Post(tt.token, statements, tt.body)
		var e struct {
			Error struct{ Message, Param string }
		}
		if err := json.Unmarshal(raw, &e); err != nil || status != tt.status || e.Error.Param != tt.param || !strings.Contains(e.Error.Message, tt.says) {
			t.Errorf("%v: got %d %s (%v), want %d at %q with %q", tt.body, status, raw, err, tt.status, tt.param, tt.says)
		}
	}
	for _, path := range []string{"GET /some-id", "GET /some-id/result/chunks/0", "POST /some-id/cancel"} {
		method, path, _ := strings.Cut(path, " ")
		req, err := http.NewRequestWithContext(t.Context(), method, g.URL+statements+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+alice)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		var e struct{ Message string }
		if err := json.NewDecoder(resp.Body).Decode(&e); err != nil || resp.StatusCode != 404 || !strings.Contains(e.Message, "results are given at once") {
			t.Errorf("%s %s: got %d %q (%v)", method, path, resp.StatusCode, e.Message, err)
		}
		resp.Body.Close()
	}
}

// A result is held in memory within the budget of all requests.
func TestStatementsWithinTheBudget(t *testing.T) {
	t.Parallel()
	g := gatewaytest.Start(t, demo+"requests: {body: 1048576, budget: 5000000}\n", sampleDir(t, samples.Seed))
	token := g.Token("alice@example.com")
	for range 3 {
		if r := runSQL(t, g, token, "SELECT repeat('x', 1000000) FROM range(10)"); r.status != 200 || r.Status.State != "FAILED" || r.Status.SQLState != "54000" || !strings.Contains(r.message(), "byte_limit") {
			t.Errorf("got %d %.300s, want it refused for its size", r.status, r.raw)
		}
		if r := runSQL(t, g, token, "SELECT repeat('x', 1000000) FROM range(2)"); len(r.rows(t)) != 2 { // what was held is given back
			t.Errorf("got %d %.300s", r.status, r.raw)
		}
	}
}

// owned is demo with a model whose payloads are kept, and a user with a grant
// on the usage table.
var owned = strings.NewReplacer(
	"{destinations: [{provider: demo, model: demo}]}", "{destinations: [{provider: demo, model: demo, price: {input: 3, output: 15}}], inference_table: {parent: main.gateway, prefix: demo}}",
	"    - {name: nobody@example.com}\n", "    - {name: nobody@example.com}\n    - {name: auditor@example.com}\n",
	"  grants:\n", "  grants:\n    - {to: auditor@example.com, privileges: [USE SCHEMA, SELECT], on: schema system.ai_gateway}\n",
).Replace(demo)

// The tables that the gateway writes are read by SQL, at once, by those who
// may: the engine's process, which has a user of its own when root runs this,
// reads them below a directory that is closed to others.
func TestTablesOfTheGateway(t *testing.T) {
	t.Parallel()
	dir := sampleDir(t, samples.Seed)
	g := gatewaytest.Start(t, owned, dir)
	alice, root := g.Token("alice@example.com"), g.Token("root@example.com")
	const usage, payload = "system.ai_gateway.usage", "main.gateway.demo_payload"
	if got := runSQL(t, g, root, "SELECT count(*) FROM "+usage).rows(t); got[0][0] != "0" {
		t.Errorf("before any call: %s rows", got[0][0])
	}
	for n := 1; n <= 2; n++ {
		if status, _, raw := g.Post(alice, "/ai-gateway/mlflow/v1/responses", ask); status != 200 {
			t.Fatalf("got %d %s", status, raw)
		}
		got := runSQL(t, g, root, "SELECT count(*) FILTER (WHERE service_type IS NULL), count(*) FILTER (WHERE service_type IS NOT NULL), min(requester), max(cost_usd) > 0 FROM "+usage).rows(t)
		if want := []string{fmt.Sprint(2 * n), fmt.Sprint(n), "alice@example.com", "true"}; !slices.Equal(got[0], want) {
			t.Errorf("after %d requests: %q, want %q", n, got[0], want)
		}
		got = runSQL(t, g, root, "SELECT count(*), count(request) FROM "+payload+" JOIN "+usage+" USING (invocation_id)").rows(t)
		if want := []string{fmt.Sprint(2 * n), fmt.Sprint(2 * n)}; !slices.Equal(got[0], want) {
			t.Errorf("after %d requests: payloads %q, want %q", n, got[0], want)
		}
	}
	data := filepath.Join(dir, "data")
	if info, err := os.Stat(data); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the data directory: %v, %v, want it closed to others", info.Mode(), err)
	}
	found := false
	err := filepath.WalkDir(filepath.Join(data, "tables"), func(path string, d fs.DirEntry, err error) error {
		found = found || strings.HasSuffix(path, ".parquet")
		return err
	})
	if err != nil || !found {
		t.Errorf("there is no data file below %s (%v)", data, err)
	}
	// The table tool reads them too, with the caller's rights.
	for token, want := range map[string]int{root: 200, alice: 403} {
		status, _, raw := g.Post(token, "/ai-gateway/mlflow/v1/responses", `{"model":"databricks-demo","input":"How many rows are there?","tools":[{"type":"table","table":{"name":"system.ai_gateway.usage"}}]}`)
		if status != want || want == 200 && !strings.Contains(string(raw), "function_call_output") {
			t.Errorf("the table tool over %s: got %d %s, want %d", usage, status, raw, want)
		}
	}
	infos, err := g.Tables(t.Context())
	if err != nil || len(infos) != 2 {
		t.Fatalf("Tables() = %+v, %v, want two", infos, err)
	}
}

// A table whose configuration was changed can still be read.
func TestTablesOfAnEarlierConfiguration(t *testing.T) {
	t.Parallel()
	dir := sampleDir(t, samples.Seed)
	t.Run("before", func(t *testing.T) {
		g := gatewaytest.Start(t, owned, dir)
		if status, _, raw := g.Post(g.Token("alice@example.com"), "/ai-gateway/mlflow/v1/responses", ask); status != 200 {
			t.Fatalf("got %d %s", status, raw)
		}
	})
	g := gatewaytest.Start(t, strings.Replace(owned, "prefix: demo}", "prefix: renamed}", 1), dir)
	root := g.Token("root@example.com")
	for table, want := range map[string]string{"main.gateway.demo_payload": "2", "main.gateway.renamed_payload": "0", "system.ai_gateway.usage": "3"} {
		if got := runSQL(t, g, root, "SELECT count(*) FROM "+table).rows(t); got[0][0] != want {
			t.Errorf("%s has %s rows, want %s", table, got[0][0], want)
		}
	}
}

// The rights on the gateway's tables are those of the configuration, at once.
func TestRightsOnTablesOfTheGateway(t *testing.T) {
	t.Parallel()
	g := gatewaytest.Start(t, owned, sampleDir(t, samples.Seed))
	const q = "SELECT count(*) FROM system.ai_gateway.usage"
	for who, want := range map[string]string{"root@example.com": "SUCCEEDED", "auditor@example.com": "SUCCEEDED", "alice@example.com": "FAILED", "nobody@example.com": "FAILED"} {
		if r := runSQL(t, g, g.Token(who), q); r.Status.State != want {
			t.Errorf("%s: got %s, want %s", who, r.raw, want)
		}
	}
	auditor := g.Token("auditor@example.com")
	cfg := access.Config{
		Users:  []access.User{{Name: "auditor@example.com"}, {Name: "boss@example.com", Admin: true}},
		Grants: []access.Grant{{To: "auditor@example.com", Privileges: []string{"USE SCHEMA"}, On: "schema system.ai_gateway"}},
	}
	if err := errors.Join(g.Access().Stage(cfg), g.Access().Commit()); err != nil {
		t.Fatal(err)
	}
	r := runSQL(t, g, auditor, q)
	if r.Status.State != "FAILED" || r.message() != "Permission denied for table system.ai_gateway.usage: it does not exist, or auditor@example.com lacks SELECT on table system.ai_gateway.usage. "+
		"An administrator (boss@example.com) can add under access.grants in the gateway's configuration: {to: auditor@example.com, privileges: [SELECT], on: table system.ai_gateway.usage}." {
		t.Errorf("after the revocation: got %s", r.raw)
	}
}

// The control socket answers as the operator, also where the configuration has
// no administrator.
func TestControlSocketReadsAsTheOperator(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"an administrator": owned,
		"none":             strings.Replace(owned, "    - {name: root@example.com, admin: true}\n", "", 1),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, err := os.MkdirTemp("", "sp") // a socket's path is short
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { os.RemoveAll(dir) })
			writeSamples(t, dir, samples.Seed)
			g := gatewaytest.Start(t, text, dir)
			if err := g.ServeControl(t.Context()); err != nil {
				t.Fatal(err)
			}
			if status, _, raw := g.Post(g.Token("alice@example.com"), "/ai-gateway/mlflow/v1/responses", ask); status != 200 {
				t.Fatalf("got %d %s", status, raw)
			}
			running, err := gateway.Control(filepath.Join(dir, "data"))
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range []gateway.Data{running, g.Gateway} {
				reply, err := d.SQL(t.Context(), sqlapi.Statement{Statement: "SELECT count(*) FROM system.ai_gateway.usage UNION ALL SELECT count(*) FROM main.sales.orders"})
				if err != nil || reply.Status.State != "SUCCEEDED" || !strings.HasPrefix(string(reply.Result.Data), `[["3"],`) {
					t.Errorf("%T: SQL gave %+v, %v", d, reply, err)
				}
				if reply, err = d.SQL(t.Context(), sqlapi.Statement{Statement: "DROP TABLE main.sales.orders"}); err != nil || reply.Status.State != "FAILED" {
					t.Errorf("%T: DROP gave %+v, %v", d, reply, err)
				}
				if _, err = d.SQL(t.Context(), sqlapi.Statement{Statement: "SELECT 1", RowLimit: -1}); err == nil || !strings.Contains(err.Error(), "row_limit") {
					t.Errorf("%T: a row_limit of -1 gave %v", d, err)
				}
				if err := d.FlushTables(t.Context()); err != nil {
					t.Errorf("%T: FlushTables: %v", d, err)
				}
			}
			a, err := running.Tables(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			b, err := g.Tables(t.Context())
			for i := range a {
				a[i].LastCommit, b[i].LastCommit = a[i].LastCommit.UTC(), b[i].LastCommit.UTC()
			}
			if err != nil || len(a) != 2 || !reflect.DeepEqual(a, b) || a[0].Rows+a[1].Rows != 5 {
				t.Errorf("Tables() = %+v over the socket, %+v directly (%v)", a, b, err)
			}
		})
	}
}

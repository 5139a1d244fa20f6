package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"

	"github.com/sallyport-gateway/sallyport/core/config"
	"github.com/sallyport-gateway/sallyport/core/gatewaytest"
	"github.com/sallyport-gateway/sallyport/core/sqlapi"
)

func TestSQL(t *testing.T) {
	t.Parallel()
	file := configFile(t, "catalog: {main: {s: {tables: {t: {location: ./t.csv}}}}}\n")
	if err := os.WriteFile(filepath.Join(filepath.Dir(file), "t.csv"), []byte("id,name,amount\n1,one,1.5\n20,\"two\nlines\x1b[2J\",-0.25\n3,,\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	end := running(t, file)
	t.Cleanup(func() {
		if err := end(); err != nil {
			t.Error(err)
		}
	})
	const all = "SELECT id, name, amount FROM main.s.t ORDER BY id"
	for _, tt := range []struct {
		args      []string
		code      int
		out, errs string
	}{
		{[]string{all}, 0, `id  name                 amount
--  -------------------  ------
 1  one                     1.5
 3  NULL                   NULL
20  two\nlines\u001b[2J   -0.25
`, "3 rows\n"},
		{[]string{"--limit", "1", all}, 0, "id  name  amount\n--  ----  ------\n 1  one      1.5\n", "the first 1 row; there are more: filter, aggregate or raise --limit\n"},
		{[]string{"--json", all}, 0, `[1,"one",1.5]` + "\n" + `[3,null,null]` + "\n" + `[20,"two\nlines\u001b[2J",-0.25]` + "\n", "3 rows\n"},
		{[]string{"--csv", all}, 0, "id,name,amount\n1,one,1.5\n3,,\n20,\"two\nlines\x1b[2J\",-0.25\n", "3 rows\n"},
		{[]string{"--json", "SELECT 9007199254740993 AS a, 0.1::DECIMAL(18,12) AS b, true AS c, 'NaN'::DOUBLE AS d, {'x': [1.10]} AS e, '<&>' AS f, DATE '2026-11-01' AS g, '5' AS h"}, 0,
			`[9007199254740993,0.100000000000,true,"NaN",{"x":[1.10]},"<&>","2026-11-01","5"]` + "\n", "1 row\n"},
		{[]string{"--csv", "SELECT '=1+1' AS formula, '+1' AS plus, 'a\"b' AS quote, ' x' AS space, [1, 2] AS list"}, 0, "formula,plus,quote,space,list\n=1+1,+1,\"a\"\"b\",\" x\",\"[1,2]\"\n", "1 row\n"},
		{[]string{"SELECT repeat('é', 300) AS long"}, 0, "long\n" + strings.Repeat("-", 101) + "\n" + strings.Repeat("é", 100) + "…\n", "1 row\n"},
		{[]string{"SELECT 1 AS one WHERE false"}, 0, "one\n---\n", "0 rows\n"},
		{[]string{"--json", "--limit", "2", "SELECT * FROM range(5)"}, 0, "[0]\n[1]\n", "the first 2 rows; there are more: filter, aggregate or raise --limit\n"},
		{[]string{"DROP TABLE main.s.t"}, 1, "", "sallyport: Only a SELECT statement can run here; this is DROP.\n"},
		{[]string{"SELECT * FROM main.s.u"}, 1, "", "sallyport: There is no table main.s.u. Did you mean main.s.t?\n"},
		{[]string{"--json", "--csv", "SELECT 1"}, 2, "", "sallyport: --json or --csv, not both\nsee `sallyport sql --help`\n"},
		{[]string{"--limit", "0", "SELECT 1"}, 2, "", "sallyport: --limit 0 is not between 1 and 100000\nsee `sallyport sql --help`\n"},
		{[]string{"SELECT", "1"}, 2, "", "sallyport: give one statement, in quotes; - reads it from standard input\nsee `sallyport sql --help`\n"},
		{[]string{" "}, 2, "", "sallyport: the statement is empty\nsee `sallyport sql --help`\n"},
	} {
		code, out, errs := command(t, append([]string{"sql", "-c", file}, tt.args...)...)
		if code != tt.code || out != tt.out || errs != tt.errs {
			t.Errorf("%q: got exit code %d,\n%s%s\nwant %d,\n%s%s", tt.args, code, out, errs, tt.code, tt.out, tt.errs)
		}
	}
	// Who reads the rows by a program need not look whether there are all.
	code, out, errs := command(t, "sql", "-c", file, "--json", "SELECT * FROM range(10001)")
	if code != 1 || strings.Count(out, "\n") != 10_000 || !strings.Contains(errs, "cut after 10000 rows") {
		t.Errorf("got exit code %d, %d lines, %s", code, strings.Count(out, "\n"), errs)
	}
}

func TestStatementFromStandardInput(t *testing.T) {
	t.Parallel()
	if got, err := statement("-", strings.NewReader("SELECT 1\n")); err != nil || got != "SELECT 1\n" {
		t.Errorf("got %q, %v", got, err)
	}
	for in, says := range map[string]string{"": "empty", strings.Repeat("x", maxStatement+1): "longer than"} {
		if _, err := statement("-", strings.NewReader(in)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%d bytes: %v, want %q", len(in), err, says)
		}
	}
}

// The three ways to the data: a running gateway over HTTP with the rights of a
// token, its control socket as the operator, and no gateway at all.
func TestWaysToTheData(t *testing.T) {
	dir, err := os.MkdirTemp("", "sp") // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	file := filepath.Join(dir, "gateway.yaml")
	text := "version: 1\ndata: ./data\nplugins: [" + gatewaytest.Plugins(t) + `]
providers: {demo: {translator: demo}}
models: {databricks-demo: {destinations: [{provider: demo, model: demo, price: {input: 3, output: 15}}]}}
access:
  users: [{name: alice@example.com}, {name: nobody@example.com}]
  grants:
    - {to: alice@example.com, privileges: [EXECUTE], on: schema system.ai}
    - {to: alice@example.com, privileges: [USE SCHEMA, SELECT], on: schema system.ai_gateway}
`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	const count = "SELECT count(*) AS n FROM system.ai_gateway.usage"
	ok := func(what, want string, args ...string) {
		t.Helper()
		if code, out, errs := command(t, args...); code != 0 || !strings.Contains(out, want) {
			t.Errorf("%s: %q: got exit code %d, %s%s, want %q", what, args, code, out, errs, want)
		}
	}
	refused := func(what string, code int, want string, args ...string) {
		t.Helper()
		if got, out, errs := command(t, args...); got != code || out != "" || !strings.Contains(errs, want) {
			t.Errorf("%s: %q: got exit code %d, %s%s, want %d and %q", what, args, got, out, errs, code, want)
		}
	}
	ok("no gateway", "[0]\n", "sql", "--json", "-c", file, count)

	t.Run("running", func(t *testing.T) {
		cfg, err := config.Load(file)
		if err != nil {
			t.Fatal(err)
		}
		g := gatewaytest.StartConfig(t, cfg)
		if err := g.ServeControl(t.Context()); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if status, _, raw := g.Post(g.Token("alice@example.com"), "/ai-gateway/mlflow/v1/responses", `{"model":"databricks-demo","input":"Hello!"}`); status != 200 {
				t.Fatalf("got %d %s", status, raw)
			}
		}
		ok("control socket", "[3]\n", "sql", "--json", "-c", file, count)
		ok("control socket", "alice@example.com         3", "usage", "report", "-c", file)
		ok("control socket", "system.ai_gateway.usage     3", "tables", "-c", file)

		t.Setenv(urlVar, g.URL+"/")
		t.Setenv(tokenVar, g.Token("alice@example.com"))
		ok("HTTP", "[3]\n", "sql", "--json", count)
		ok("HTTP", "alice@example.com         3", "usage", "report")
		ok("HTTP", "alice@example.com,3,0,", "usage", "export", "--by", "user")
		ok("HTTP", ",alice@example.com,USER,", "usage", "export", "--csv")
		refused("HTTP", 1, "this is DROP", "sql", "DROP TABLE system.ai_gateway.usage")

		t.Setenv(tokenVar, g.Token("nobody@example.com"))
		const denied = "Permission denied for table system.ai_gateway.usage: it does not exist, or nobody@example.com lacks USE SCHEMA on schema system.ai_gateway and SELECT on table system.ai_gateway.usage. Whoever runs the gateway can add"
		refused("without a grant", 1, denied, "sql", count)
		refused("without a grant", 1, denied, "usage", "report")
		refused("without a grant", 1, denied, "usage", "export", "--csv")
		ok("--config goes before the environment", "[3]\n", "sql", "--json", "-c", file, count)

		t.Setenv(tokenVar, g.Token("alice@example.com", "ai-gateway"))
		refused("a token of another scope", 1, "status 403: Invalid scope, required scopes: unity-catalog", "sql", count)
		t.Setenv(tokenVar, "dapi-wrong")
		refused("a wrong token", 1, "status 401: Invalid access token", "sql", count)
		t.Setenv(tokenVar, "")
		refused("no token", 2, "SALLYPORT_URL is set and SALLYPORT_TOKEN is not", "sql", count)
		t.Setenv(tokenVar, "x")
		t.Setenv(urlVar, "")
		refused("no URL", 2, "SALLYPORT_TOKEN is set and SALLYPORT_URL is not", "sql", count)
		t.Setenv(urlVar, "localhost:8080")
		refused("a bad URL", 2, "SALLYPORT_URL is no URL", "sql", count)
		t.Setenv(urlVar, "http://127.0.0.1:1")
		refused("nobody there", 1, "the gateway does not answer", "sql", count)
	})
	ok("no gateway again", "[3]\n", "sql", "--json", "-c", file, count)

	t.Chdir(t.TempDir())
	refused("a directory without data", 1, "there is no data in", "sql", count)
	for _, args := range [][]string{{"tables"}, {"usage", "report"}, {"token", "create", "-p", "admin"}, {"token", "list"}, {"token", "revoke", "x"}} {
		refused("a directory without data", 1, "name the configuration of another one with --config", args...)
	}
	if _, err := os.Stat("sallyport-data"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a data directory was made: %v", err)
	}
}

func TestWrongUseOfDataCommands(t *testing.T) {
	t.Parallel()
	file := configFile(t, "")
	for _, tt := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"usage"}, 0, ""},
		{[]string{"usage", "repotr"}, 2, `did you mean "report"?`},
		{[]string{"usage", "report", "--by", "usr"}, 2, `--by "usr": usage can be summed by user, group, model, tool, hosted, day, month`},
		{[]string{"usage", "report", "--by", "user,user"}, 2, "--by names user twice"},
		{[]string{"usage", "report", "--since", "soon"}, 2, `--since "soon" is neither a day such as 2026-11-01 nor a month such as 2026-11`},
		{[]string{"usage", "report", "--since", "2026-12", "--until", "2026-11-30"}, 2, "--since 2026-12 is after --until 2026-11-30"},
		{[]string{"usage", "export", "--csv=false"}, 2, "--csv is the only format"},
		{[]string{"usage", "export", "x"}, 2, `takes no argument: what is "x"?`},
		{[]string{"tables", "x"}, 2, `takes no argument: what is "x"?`},
	} {
		if code, _, errs := command(t, append(tt.args, "-c", file)...); code != tt.code || !strings.Contains(errs, tt.want) {
			t.Errorf("%q: got exit code %d and %q, want %d and %q", tt.args, code, errs, tt.code, tt.want)
		}
	}
}

// Whatever a value holds, its JSON is JSON and its cell is one line that no
// terminal obeys.
func TestAnyValue(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(4, 2))
	letters := []rune("a\"\\{}[],:0-.eNn\x00\x1b\n\t\r\u007f\u0085\u200b\u2028\u202e<&é…")
	for range 20_000 {
		var b strings.Builder
		for range rnd.IntN(8) {
			b.WriteRune(letters[rnd.IntN(len(letters))])
		}
		if rnd.IntN(10) == 0 {
			b.WriteByte(0xff)
		}
		s := b.String()
		for _, typ := range []string{"STRING", "DOUBLE", "STRUCT"} {
			if got := native(sqlapi.Column{TypeName: typ}, &s); !json.Valid(got) || bytes.ContainsRune(got, '\n') {
				t.Errorf("native(%q as %s) = %s, which is no JSON on a line", s, typ, got)
			}
		}
		if got := cell(s); strings.ContainsFunc(got, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("cell(%q) = %q, which a terminal may obey", s, got)
		}
	}
}

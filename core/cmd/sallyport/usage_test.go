package main

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/sallyport-gateway/sallyport/core/delta"
	"github.com/sallyport-gateway/sallyport/core/gateway"
)

// usageRow is a row of the usage table with what the commands look at.
type usageRow struct {
	At        time.Time         `delta:"event_time"`
	Date      string            `delta:"event_date"`
	ID        string            `delta:"invocation_id"`
	User      string            `delta:"requester"`
	Groups    []string          `delta:"requester_groups"`
	Model     string            `delta:"endpoint_name,omitzero"`
	Tool      string            `delta:"coding_tool,omitzero"`
	Agent     string            `delta:"user_agent,omitzero"`
	Service   string            `delta:"service_type,omitzero"`
	Name      string            `delta:"service_name,omitzero"`
	MCP       map[string]any    `delta:"mcp_metadata"`
	Input     *int64            `delta:"input_tokens"`
	Output    *int64            `delta:"output_tokens"`
	Total     *int64            `delta:"total_tokens"`
	Details   map[string]any    `delta:"token_details"`
	Source    string            `delta:"token_source,omitzero"`
	Status    string            `delta:"status,omitzero"`
	Cost      *string           `delta:"cost_usd"`
	Tags      map[string]string `delta:"request_tags"`
	Price     map[string]any    `delta:"price"`
	AttemptOf []map[string]any  `delta:"attempt_costs"`
}

// called is a row of a model call; a cost of "" is none.
func called(at, user, model, tool string, input, cached, output int64, cost string, groups ...string) usageRow {
	t, err := time.Parse(time.RFC3339Nano, at)
	if err != nil {
		panic(err)
	}
	total := input + output
	r := usageRow{At: t, Date: t.UTC().Format(time.DateOnly), User: user, Groups: groups, Model: model, Tool: tool, Input: &input, Output: &output, Total: &total,
		Details: map[string]any{"cache_read_input_tokens": cached}, Source: "provider"}
	if cost != "" {
		r.Cost = &cost
	}
	return r
}

// withUsage makes a configuration in dir whose usage table holds rows, in two
// commits.
func withUsage(t *testing.T, dir string, rows ...usageRow) (file string) {
	t.Helper()
	file = configIn(t, dir, "")
	if code, _, errs := command(t, "tables", "-c", file); code != 0 { // makes the table
		t.Fatal(errs)
	}
	d, err := delta.OpenDir(filepath.Join(filepath.Dir(file), "sallyport-data", "tables", "system", "ai_gateway", "usage"))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	table, err := delta.OpenTable(t.Context(), d, delta.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range rows {
		rows[i].ID = fmt.Sprintf("%04d", len(rows)-i) // ids do not follow the order of the table
	}
	half := len(rows) / 2
	for _, part := range [][]usageRow{rows[half:], rows[:half]} {
		if _, err := table.Append(t.Context(), delta.Txn{}, delta.Rows(part...)); err != nil {
			t.Fatal(err)
		}
	}
	return file
}

// someUsage is that of two months: costs that floats would not add up, a call
// without a price, one whose tokens were estimated, a hosted tool's, one by
// somebody in no group, and one that was refused.
func someUsage(t *testing.T, dir string) string {
	t.Helper()
	tool := called("2026-11-02T10:00:01Z", "alice@example.com", "", "", 0, 0, 0, "", "analysts", "eng")
	tool.Input, tool.Output, tool.Total, tool.Details, tool.Service = nil, nil, nil, nil, "HOSTED_TOOL"
	tool.Name, tool.MCP = "code_execution", map[string]any{"tool_name": "system.ai.python_exec"}
	odd := called("2026-11-03T00:00:00Z", "bob@example.com", "gpt", "codex", 7, 0, 7, "0.000000000001")
	odd.Groups = nil
	odd.Agent = "=cmd|' /C calc'!A0,\"quoted\"\nsecond line"
	odd.Tags = map[string]string{"team": "a, \"b\""}
	odd.Price = map[string]any{"input": "0.1", "output": "0.3"}
	odd.AttemptOf = []map[string]any{{"destination_name": "x", "input_tokens": 9007199254740993, "cost_usd": "0.3"}}
	estimated := called("2026-11-02T23:59:59.999999Z", "alice@example.com", "sonnet", "claude-code", 100, 50, 10, "0.1", "analysts", "eng")
	estimated.Source = "estimated"
	refused := called("2026-11-01T09:00:00Z", "alice@example.com", "sonnet", "claude-code", 0, 0, 0, "", "analysts", "eng")
	refused.Source, refused.Status = "none", "refused"
	return withUsage(t, dir, refused,
		called("2026-10-31T23:59:59Z", "alice@example.com", "sonnet", "claude-code", 1000, 900, 20, "123456.789012345678", "analysts", "eng"),
		called("2026-11-01T00:00:00Z", "alice@example.com", "sonnet", "claude-code", 1000, 0, 20, "0.2", "analysts", "eng"),
		called("2026-11-02T10:00:00Z", "alice@example.com", "free", "", 5, 0, 5, "", "analysts", "eng"),
		tool, estimated, odd,
		called("2026-11-03T00:00:00Z", "carol@example.com", "gpt", "", 3, 0, 3, "0.3"),
	)
}

var shared struct {
	sync.Once
	file string
}

// sharedUsage is that of someUsage, with a gateway over it that the commands
// ask. Nobody writes to it.
func sharedUsage(t *testing.T) string {
	t.Helper()
	shared.Do(func() {
		dir, err := os.MkdirTemp("", "sp")
		if err != nil {
			t.Fatal(err)
		}
		file := someUsage(t, dir)
		end := running(t, file)
		atEnd = append(atEnd, end, func() error { return os.RemoveAll(dir) })
		shared.file = file
	})
	if shared.file == "" {
		t.Fatal("the test that made the shared usage has failed")
	}
	return shared.file
}

func TestUsageReport(t *testing.T) {
	t.Parallel()
	file := sharedUsage(t)
	const (
		unpriced  = "Without a price, and so not in the cost: 1 request that used tokens. Set price at the destinations of their models; it holds for later requests.\n"
		estimated = "With tokens that the gateway estimated, because the provider did not tell them: 1 request.\n"
		groups    = "A user in several groups counts in each of them; the total counts every request once.\n"
		refused   = "Refused before any provider was asked, and so not among the requests: 1 request. `usage export --by` has them for each row.\n"
	)
	for _, tt := range []struct {
		args       []string
		out, notes string
	}{
		{nil, `USER               REQUESTS  HOSTED CALLS  INPUT  CACHED  OUTPUT   COST USD
-----------------  --------  ------------  -----  ------  ------  ---------
alice@example.com         4             1   2105     950      55  123457.09
carol@example.com         1             0      3       0       3       0.30
bob@example.com           1             0      7       0       7      <0.01
-----------------  --------  ------------  -----  ------  ------  ---------
total                     6             1   2115     950      65  123457.39
`, refused + unpriced + estimated},
		{[]string{"--by", "group", "--since", "2026-11"}, `GROUP     REQUESTS  HOSTED CALLS  INPUT  CACHED  OUTPUT  COST USD
--------  --------  ------------  -----  ------  ------  --------
-                2             0     10       0      10      0.30
analysts         3             1   1105      50      35      0.30
eng              3             1   1105      50      35      0.30
--------  --------  ------------  -----  ------  ------  --------
total            5             1   1115      50      45      0.60
`, groups + refused + unpriced + estimated},
		{[]string{"--by", "month,model", "--until", "2026-11-01"}, `MONTH    MODEL   REQUESTS  HOSTED CALLS  INPUT  CACHED  OUTPUT   COST USD
-------  ------  --------  ------------  -----  ------  ------  ---------
2026-10  sonnet         1             0   1000     900      20  123456.79
2026-11  sonnet         1             0   1000       0      20       0.20
-------  ------  --------  ------------  -----  ------  ------  ---------
total                   2             0   2000     900      40  123456.99
`, refused},
		{[]string{"--by", "tool", "--since", "2026-11-02", "--until", "2026-11-02"}, `TOOL         REQUESTS  HOSTED CALLS  INPUT  CACHED  OUTPUT  COST USD
-----------  --------  ------------  -----  ------  ------  --------
claude-code         1             0    100      50      10      0.10
-                   1             1      5       0       5         -
-----------  --------  ------------  -----  ------  ------  --------
total               2             1    105      50      15      0.10
`, unpriced + estimated},
		{[]string{"--by", "hosted", "--since", "2026-11-02", "--until", "2026-11-02"}, `HOSTED                 REQUESTS  HOSTED CALLS  INPUT  CACHED  OUTPUT  COST USD
---------------------  --------  ------------  -----  ------  ------  --------
-                             2             0    105      50      15      0.10
system.ai.python_exec         0             1      0       0       0         -
---------------------  --------  ------------  -----  ------  ------  --------
total                         2             1    105      50      15      0.10
`, unpriced + estimated},
		{[]string{"--by", "", "--since", "2026-11-02", "--until", "2026-11"}, `REQUESTS  HOSTED CALLS  INPUT  CACHED  OUTPUT  COST USD
--------  ------------  -----  ------  ------  --------
       4             1    115      50      25      0.40
`, unpriced + estimated},
		{[]string{"--by", "day", "--since", "2027-01-01"}, `DAY    REQUESTS  HOSTED CALLS  INPUT  CACHED  OUTPUT  COST USD
-----  --------  ------------  -----  ------  ------  --------
total         0             0      0       0       0         -
`, ""},
	} {
		code, out, errs := command(t, append([]string{"usage", "report", "-c", file}, tt.args...)...)
		if code != 0 || out != tt.out || errs != tt.notes {
			t.Errorf("%v: got exit code %d,\n%s%s\nwant\n%s%s", tt.args, code, out, errs, tt.out, tt.notes)
		}
	}
}

// What is exported is what is in the table, to the last digit.
func TestUsageExport(t *testing.T) {
	t.Parallel()
	file := sharedUsage(t)
	code, out, errs := command(t, "usage", "export", "--csv", "-c", file)
	if code != 0 || errs != "8 rows\n" {
		t.Fatalf("got exit code %d, %s", code, errs)
	}
	records, err := csv.NewReader(strings.NewReader(out)).ReadAll()
	if err != nil || len(records) != 9 {
		t.Fatalf("got %d records (%v):\n%s", len(records), err, out)
	}
	at := map[string]int{}
	for i, name := range records[0] {
		at[name] = i
	}
	sum, last := new(big.Rat), ""
	for _, r := range records[1:] {
		if cost := r[at["cost_usd"]]; cost != "" {
			c, ok := new(big.Rat).SetString(cost)
			if !ok {
				t.Fatalf("cost_usd is %q", cost)
			}
			sum.Add(sum, c)
		}
		if when := r[at["event_time"]] + r[at["invocation_id"]]; when <= last {
			t.Errorf("row %s is behind %s", when, last)
		} else {
			last = when
		}
	}
	code, text, errs := command(t, "sql", "--json", "-c", file, "SELECT sum(cost_usd) FROM system.ai_gateway.usage")
	if want := "[" + sum.FloatString(12) + "]\n"; code != 0 || text != want || text != "[123457.389012345679]\n" {
		t.Errorf("SQL gives %q (%s), the export adds up to %q", text, errs, want)
	}
	for name, want := range map[string]string{
		"event_time": "2026-11-03T00:00:00Z", "requester": "bob@example.com", "user_agent": "=cmd|' /C calc'!A0,\"quoted\"\nsecond line",
		"request_tags": `{"team":"a, \"b\""}`, "token_details.cache_read_input_tokens": "0", "token_details.output_reasoning_tokens": "", "price.input": "0.100000", "price.output": "0.300000", "price.cache_read": "",
		"requester_groups": "", "cost_usd": "0.000000000001", "mcp_metadata.tool_name": "", "event_date": "2026-11-03",
	} {
		i := slices.IndexFunc(records, func(r []string) bool { return r[at["requester"]] == "bob@example.com" })
		if _, ok := at[name]; !ok {
			t.Errorf("there is no column %s in %q", name, records[0])
		} else if got := records[i][at[name]]; got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	for name := range at {
		if name == "token_details" || name == "price" || name == "mcp_metadata" {
			t.Errorf("the struct %s is not opened", name)
		}
	}
	if !strings.Contains(out, "9007199254740993") {
		t.Error("an integer above 2^53 is not exact")
	}

	code, out, errs = command(t, "usage", "export", "--csv", "--by", "user,month", "-c", file)
	const want = `user,month,requests,hosted_tool_calls,input_tokens,cached_input_tokens,output_tokens,cost_usd,requests_without_price,requests_estimated,refused
alice@example.com,2026-10,1,0,1000,900,20,123456.789012345678,0,0,0
carol@example.com,2026-11,1,0,3,0,3,0.300000000000,0,0,0
alice@example.com,2026-11,3,1,1105,50,35,0.300000000000,1,1,1
bob@example.com,2026-11,1,0,7,0,7,0.000000000001,0,0,0
`
	sorted := func(s string) []string { l := strings.Split(s, "\n"); slices.Sort(l); return l }
	if code != 0 || !slices.Equal(sorted(out), sorted(want)) {
		t.Errorf("got exit code %d, %s\n%s", code, errs, out)
	}
}

// Pages follow each other without a gap or a row twice, also within the same
// microsecond and over days.
func TestUsageExportInPages(t *testing.T) {
	t.Parallel()
	var rows []usageRow
	for i := range 25 {
		rows = append(rows, called(fmt.Sprintf("2026-11-%02dT10:00:00.%06dZ", 1+i/10, i/4), "alice@example.com", "m", "", 1, 0, 1, "0.01"))
	}
	file := withUsage(t, t.TempDir(), rows...)
	cmd := &cobra.Command{}
	cmd.SetContext(t.Context())
	err := withData(cmd, file, func(d gateway.Data) error {
		whole := ""
		for _, page := range []int64{1000, 2, 7} {
			var out strings.Builder
			n, err := selection{}.exportRows(t.Context(), d, &out, page)
			if err != nil {
				return err
			}
			if whole == "" {
				whole = out.String()
			}
			if n != 25 || out.String() != whole {
				t.Errorf("in pages of %d: %d rows, other ones than at once", page, n)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := (selection{}).exportRows(ctx, d, &strings.Builder{}, 3); err == nil {
			t.Error("an export that is canceled ends well")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestUsageExportToAFile(t *testing.T) {
	t.Parallel()
	file := sharedUsage(t)
	path := filepath.Join(t.TempDir(), "out.csv")
	if code, out, errs := command(t, "usage", "export", "-c", file, "-o", path); code != 0 || out != "" {
		t.Fatalf("got exit code %d, %q, %s", code, out, errs)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != fs.FileMode(0o600) {
		t.Errorf("%v, %v, want a file that only its user may read", info, err)
	}
	_, out, _ := command(t, "usage", "export", "-c", file)
	if got, err := os.ReadFile(path); err != nil || string(got) != out {
		t.Errorf("the file has %q (%v), want %q", got, err, out)
	}
	// What fails leaves the file as it was, and nothing beside it.
	if err := toFile(path, nil, func(w io.Writer) error {
		_, _ = w.Write([]byte("half"))
		return context.Canceled
	}); err != context.Canceled {
		t.Errorf("got %v", err)
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != out {
		t.Errorf("after a failure the file has %q (%v)", got, err)
	}
	if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) != 1 {
		t.Errorf("left beside it: %v (%v)", left, err)
	}
	if code, _, errs := command(t, "usage", "export", "-c", file, "-o", "/no/such/dir/x.csv"); code != 1 || !strings.Contains(errs, "/no/such/dir") {
		t.Errorf("got exit code %d, %s", code, errs)
	}
}

// No gateway runs here: each command opens the data.
func TestTablesCommand(t *testing.T) {
	t.Parallel()
	file := someUsage(t, t.TempDir())
	code, out, errs := command(t, "tables", "--flush", "-c", file)
	fields := strings.Fields(strings.Split(out, "\n")[2])
	if code != 0 || !strings.HasPrefix(out, "TABLE") || len(fields) != 9 || fields[0] != "system.ai_gateway.usage" || fields[1] != "8" || fields[5] != "2" || fields[8] != "0" {
		t.Errorf("got exit code %d, %s\n%s", code, errs, out)
	}
	code, out, errs = command(t, "tables", "--json", "-c", file)
	var info struct {
		Name string
		Rows int64
	}
	if err := json.Unmarshal([]byte(out), &info); err != nil || code != 0 || info.Name != "system.ai_gateway.usage" || info.Rows != 8 {
		t.Errorf("got exit code %d, %s %v\n%s", code, errs, err, out)
	}
	if code, out, errs = command(t, "usage", "report", "--by", "", "-c", file); code != 0 || !strings.Contains(out, "       6             1   2115     950      65  123457.39") {
		t.Errorf("got exit code %d, %s\n%s", code, errs, out)
	}
}

func TestDate(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		in          string
		first, last string // "" is refused
	}{
		{"2026-11-05", "2026-11-05", "2026-11-05"},
		{"2026-11", "2026-11-01", "2026-11-30"},
		{"2028-02", "2028-02-01", "2028-02-29"},
		{"2026-12", "2026-12-01", "2026-12-31"},
		{"2026-02-30", "", ""},
		{"yesterday", "", ""},
		{"2026-11-05'; --", "", ""},
	} {
		for months, want := range []string{tt.first, tt.last} {
			if got, err := date("--since", tt.in, months); got != want || (err == nil) != (want != "") {
				t.Errorf("date(%q, %d) = %q, %v, want %q", tt.in, months, got, err, want)
			}
		}
	}
}

func TestCents(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"0": "0.00", "0.000000000000": "0.00", "0.005": "0.01", "0.004999999999": "<0.01", "0.000000000001": "<0.01", "1.995": "2.00",
		"123456789012345678901234.565": "123456789012345678901234.57", "x": "x",
	} {
		if got := cents(&in); got != want {
			t.Errorf("cents(%s) = %s, want %s", in, got, want)
		}
	}
	if got := cents(nil); got != "-" {
		t.Errorf("cents of null = %s", got)
	}
}

package usage

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-gateway/sallyport/core/delta"
	"github.com/sallyport-gateway/sallyport/core/tables"
	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/provider"
)

// rowOf is the row of a call that has ended.
func rowOf(s Start, o Outcome) *row {
	r, cfg := new(draft), &Config{StatusOf: statusOf}
	r.begin(&s, cfg, "id")
	r.end(&o, cfg.StatusOf)
	return &r.row
}

func TestTokens(t *testing.T) {
	t.Parallel()
	u := openresponses.Usage{Input: 1, CacheRead: 2, CacheWrite: 4, CacheWrite1h: 8, Output: 16, Reasoning: 32}
	estimated := openresponses.Usage{Input: 5, Output: 7, Estimated: true}
	tests := []struct {
		name     string
		attempts []openresponses.Usage
		want     string // input output total / read creation reasoning / uncached 5m 1h source
	}{
		{"one attempt", []openresponses.Usage{u}, "15 48 63 / 2 12 32 / 1 4 8 provider"},
		{"nothing used", []openresponses.Usage{{}}, "0 0 0 / 0 0 0 / 0 0 0 none"},
		{"nothing asked", nil, "0 0 0 / 0 0 0 / 0 0 0 none"},
		{"the sum of two", []openresponses.Usage{u, u}, "30 96 126 / 4 24 64 / 2 8 16 provider"},
		{"one of two estimated", []openresponses.Usage{u, estimated}, "20 55 75 / 2 12 32 / 6 4 8 estimated"},
		{"an estimate of nothing is none", []openresponses.Usage{{Estimated: true}, u}, "15 48 63 / 2 12 32 / 1 4 8 provider"},
		{"counts below zero", []openresponses.Usage{{Input: -9, Output: 3}}, "0 3 3 / 0 0 0 / 0 0 0 provider"},
		{"counts that cannot be", []openresponses.Usage{{Input: 1 << 62}, {Input: 1 << 62}}, "2000000000000000 0 2000000000000000 / 0 0 0 / 2000000000000000 0 0 provider"},
	}
	for _, tt := range tests {
		var o Outcome
		for _, u := range tt.attempts {
			o.Attempts = append(o.Attempts, Attempt{Provider: "p", Model: "m", Usage: u})
		}
		r := rowOf(sampleStart(), o)
		got := fmt.Sprintf("%d %d %d / %d %d %d / %d %d %d %s", *r.InputTokens, *r.OutputTokens, *r.TotalTokens,
			r.TokenDetails.CacheRead, r.TokenDetails.CacheCreation, r.TokenDetails.Reasoning, *r.UncachedTokens, *r.CacheWrite5m, *r.CacheWrite1h, r.TokenSource)
		if got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}

func TestRowCost(t *testing.T) {
	t.Parallel()
	cheap, dear := &Price{Input: new(float64(1)), Output: new(float64(2))}, &Price{Input: new(float64(10)), Output: new(float64(20))}
	used := func(provider string, p *Price) Attempt {
		return Attempt{Provider: provider, Model: "m", Usage: openresponses.Usage{Input: 100, Output: 10}, Price: p}
	}
	tests := []struct {
		name     string
		start    *Price
		attempts []Attempt
		price    *Price // in the row
		cost     string // "" for null
		parts    string
	}{
		{"one", cheap, []Attempt{used("a", cheap)}, cheap, "120000000", ""},
		{"no price", nil, []Attempt{used("a", nil)}, nil, "", ""},
		{"a fallback at its own price", cheap, []Attempt{{Provider: "a", Price: cheap}, used("b", dear)}, dear, "1200000000", "a 0 0 0, b 100 10 1200000000"},
		{"both used tokens", cheap, []Attempt{used("a", cheap), used("b", dear)}, dear, "1320000000", "a 100 10 120000000, b 100 10 1200000000"},
		{"only the first has a price", cheap, []Attempt{used("a", cheap), used("b", nil)}, nil, "120000000", "a 100 10 120000000, b 100 10 null"},
		{"only the second has a price", nil, []Attempt{used("a", nil), used("b", dear)}, dear, "1200000000", "a 100 10 null, b 100 10 1200000000"},
		{"nothing asked", cheap, nil, cheap, "0", ""},
		{"nothing asked, no price", nil, nil, nil, "", ""},
	}
	for _, tt := range tests {
		s := sampleStart()
		s.Price = tt.start
		r := rowOf(s, Outcome{Status: Completed, Attempts: tt.attempts})
		show := func(c *delta.Unscaled) string {
			if c == nil {
				return "null"
			}
			return fmt.Sprint(int64(*c))
		}
		var parts []string
		for _, c := range r.AttemptCosts {
			parts = append(parts, fmt.Sprintf("%s %d %d %s", c.DestinationName, c.InputTokens, c.OutputTokens, show(c.Cost)))
		}
		if got := strings.TrimPrefix(show(r.Cost), "null"); got != tt.cost || strings.Join(parts, ", ") != tt.parts {
			t.Errorf("%s: cost %q, parts %q, want %q, %q", tt.name, got, strings.Join(parts, ", "), tt.cost, tt.parts)
		}
		if (r.Price == nil) != (tt.price == nil) || r.Price != nil && *r.Price != tt.price.rates() {
			t.Errorf("%s: price %+v, want %+v", tt.name, r.Price, tt.price)
		}
	}
}

func TestStatus(t *testing.T) {
	t.Parallel()
	tests := []struct {
		status string
		code   apierror.Code
		want   int32
		errors string
	}{
		{Completed, "", 200, ""},
		{Incomplete, "", 200, ""},
		{Canceled, apierror.Canceled, 499, "canceled"},
		{Failed, apierror.UpstreamTimeout, 504, "upstream_timeout"},
		{Failed, "", 500, ""},
		{Refused, apierror.RateLimited, 429, "rate_limited"},
	}
	for _, tt := range tests {
		r := rowOf(sampleStart(), Outcome{Status: tt.status, Code: tt.code})
		if r.Status != tt.status || r.StatusCode != tt.want || r.ErrorCode != tt.errors {
			t.Errorf("%s %s: %s %d %q, want %d %q", tt.status, tt.code, r.Status, r.StatusCode, r.ErrorCode, tt.want, tt.errors)
		}
	}
}

// Clients of some paths are answered with statuses of their own.
func TestStatusOfSource(t *testing.T) {
	t.Parallel()
	s, cfg := sampleStart(), &Config{StatusOf: statusOf}
	s.Source = &Source{StatusOf: func(apierror.Code) int { return 400 }}
	var r draft
	r.refuse(&s, &Outcome{Code: apierror.BudgetExceeded}, cfg, "id")
	if r.StatusCode != 400 {
		t.Errorf("got %d, want what the source says", r.StatusCode)
	}
}

// TestBegunRow: what Begin writes is a whole row of an interrupted call.
func TestBegunRow(t *testing.T) {
	t.Parallel()
	s := sampleStart()
	r := new(draft)
	r.begin(&s, &Config{}, "id")
	if r.Status != Interrupted || r.ErrorCode != Interrupted || r.TokenSource != "estimated" || *r.InputTokens != 1200 || *r.OutputTokens != 0 || *r.Cost != 1200*3_000_000 {
		t.Errorf("status %s, error %s, source %s, input %d, output %d, cost %d", r.Status, r.ErrorCode, r.TokenSource, *r.InputTokens, *r.OutputTokens, *r.Cost)
	}
	if r.LatencyMS != nil || r.StatusCode != 0 || r.FirstByteMS != nil {
		t.Error("an interrupted call has a latency or a status")
	}
	s.Price, s.EstimatedInput = nil, 0
	r = new(draft)
	r.begin(&s, &Config{}, "id")
	if r.Cost != nil || r.TokenSource != "none" {
		t.Errorf("without a price: cost %v, source %s", r.Cost, r.TokenSource)
	}
}

func TestToolCall(t *testing.T) {
	t.Parallel()
	s := sampleStart()
	s.Service = &Service{Type: MCPService, Name: "main.tools.tickets", ToolType: "mcp", Function: "create_ticket"}
	r := rowOf(s, Outcome{Status: Failed, Code: apierror.UpstreamTimeout, Latency: time.Second})
	if r.ServiceType != "MCP_SERVICE" || r.ServiceName != "main.tools.tickets" || *r.MCP != (mcp{"tools/call", "create_ticket", "mcp", "claude-code"}) {
		t.Errorf("service %s %s %+v", r.ServiceType, r.ServiceName, r.MCP)
	}
	if r.EndpointName != "" || r.DestinationType != "" || r.DestinationName != "" || r.DestinationModel != "" || r.InputTokens != nil || r.TotalTokens != nil ||
		r.TokenDetails != nil || r.Cost != nil || r.Price != nil || r.Routing != nil || r.ToolCalls != nil || r.TokenSource != "none" {
		t.Errorf("a tool call has columns of a model call: %+v", r)
	}
	if r.StatusCode != 504 || *r.LatencyMS != 1000 || r.Requester != "ana@example.com" {
		t.Errorf("status %d, latency %d, requester %s", r.StatusCode, *r.LatencyMS, r.Requester)
	}
}

// TestRowIsBounded: no row grows with what a client or a provider says.
func TestRowIsBounded(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x\xff\n", 1<<14)
	var many []string
	tags := map[string]string{}
	for i := range 300 {
		many = append(many, long)
		tags[fmt.Sprint(i, long)] = long
	}
	s := Start{
		Source: &Source{long, "/" + long + "?key=secret", long, long, long, long, tags, long, long, long, long, long, long, nil},
		Time:   time.Date(20000, 1, 1, 0, 0, 0, 0, time.UTC), Requester: long, Groups: many, Model: long, Provider: long, DestinationModel: long,
		EstimatedInput: -1, PayloadTable: long, Op: provider.Op(long),
	}
	o := Outcome{Status: long, Code: apierror.Code(long), Served: long, Tier: long, Lost: many, FirstByte: -1, Latency: -1, ToolCalls: -1}
	for range 1000 {
		o.Attempts = append(o.Attempts, Attempt{Provider: long, Model: long, Action: long, Status: 1 << 40, RequestID: long})
	}
	b := rowOf(s, o).appendTo(nil)
	if len(b) > 256<<10 {
		t.Errorf("the row has %d bytes", len(b))
	}
	if strings.Contains(string(b), "secret") || strings.Contains(string(b), "\n\n") {
		t.Error("the query or a control character is in the row")
	}
	if _, err := decodeRow(b); err != nil {
		t.Error(err)
	}
	if many[0] != long {
		t.Error("the caller's list was changed")
	}
}

func TestTheLastAttemptStays(t *testing.T) {
	t.Parallel()
	var o Outcome
	for i := range 100 {
		o.Attempts = append(o.Attempts, Attempt{Provider: fmt.Sprint("p", i), Model: "m", Action: Retry})
	}
	r := rowOf(sampleStart(), o)
	if n := len(r.Routing.Attempts); n != maxAttempts || r.Routing.Attempts[n-1].Destination != "p99/m" || r.DestinationName != "p99" {
		t.Errorf("%d attempts, the last %+v, destination %s", n, r.Routing.Attempts[n-1], r.DestinationName)
	}
	if o.Attempts[31].Provider != "p31" {
		t.Error("the caller's attempts were changed")
	}
}

func TestDay(t *testing.T) {
	t.Parallel()
	tests := []struct {
		at   string
		want int32
	}{
		{"1970-01-01T00:00:00Z", 0},
		{"1969-12-31T23:59:59Z", -1},
		{"1969-12-31T00:00:00Z", -1},
		{"2026-11-21T23:59:59Z", 20778},
		{"2026-11-22T00:30:00+01:00", 20778},
	}
	for _, tt := range tests {
		at, err := time.Parse(time.RFC3339, tt.at)
		if err != nil {
			t.Fatal(err)
		}
		if got := day(at); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.at, got, tt.want)
		}
	}
}

// TestColumns: each field of a row is a column of its table, and each struct in
// it a struct there, so that no column is filled under a wrong name.
func TestColumns(t *testing.T) {
	t.Parallel()
	var check func(path string, gt reflect.Type, fields []delta.Field, all bool)
	check = func(path string, gt reflect.Type, fields []delta.Field, all bool) {
		for gt.Kind() == reflect.Pointer || gt.Kind() == reflect.Slice {
			gt = gt.Elem()
		}
		if gt.Kind() != reflect.Struct {
			return
		}
		found := 0
		for i := range gt.NumField() {
			name, _, _ := strings.Cut(gt.Field(i).Tag.Get("delta"), ",")
			if gt.Field(i).Tag.Get("wire") == "" {
				t.Errorf("%s.%s has no wire number", path, gt.Field(i).Name)
			}
			for _, f := range fields {
				if f.Name != name {
					continue
				}
				found++
				switch x := f.Type.(type) {
				case delta.Struct:
					check(path+"."+name, gt.Field(i).Type, x, false)
				case delta.Array:
					if s, ok := x.Element.(delta.Struct); ok {
						check(path+"."+name, gt.Field(i).Type, s, true)
					}
				}
			}
		}
		if found != gt.NumField() || all && found != len(fields) {
			t.Errorf("%s: %d fields, %d columns, %d in both", path, gt.NumField(), len(fields), found)
		}
	}
	check("usage", reflect.TypeFor[row](), usageSchema(), true)
	check("payload", reflect.TypeFor[payloadRow](), payloadSchema(), true)
}

// TestSchemas: a table's columns keep their names, types and places. A new one
// goes to the end, and makes a new version.
func TestSchemas(t *testing.T) {
	t.Parallel()
	for _, k := range []*tables.Kind{UsageKind(), PayloadKind()} {
		var b strings.Builder
		for _, f := range k.Schema {
			if f.Comment == "" {
				t.Errorf("column %s has no comment", f.Name)
			}
			fmt.Fprintf(&b, "%s %s\n", f.Name, f.Type.SQL())
		}
		file := filepath.Join("testdata", fmt.Sprintf("%s-%d.columns", k.Name, k.Version))
		if *update {
			if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if b.String() != string(want) {
			t.Errorf("the columns are not those of %s:\n%s", file, b.String())
		}
	}
}

package delta

import (
	"fmt"
	"syscall"
	"testing"
	"time"
)

// usage is a row like those of the gateway's usage table: 45 columns, some of
// them structs and maps.
type usage struct {
	ID        string            `delta:"id"`
	Time      time.Time         `delta:"event_time"`
	Day       time.Time         `delta:"day"`
	Principal string            `delta:"principal"`
	Client    string            `delta:"client,omitzero"`
	Endpoint  string            `delta:"endpoint"`
	Model     string            `delta:"model"`
	Provider  string            `delta:"provider"`
	Status    string            `delta:"status"`
	Code      int32             `delta:"code"`
	Stream    bool              `delta:"stream"`
	Tokens    tokens            `delta:"tokens"`
	Price     *string           `delta:"price"`
	Latency   latency           `delta:"latency"`
	Tags      map[string]string `delta:"tags"`
	Headers   map[string]string `delta:"headers"`
	Tools     []string          `delta:"tools"`
	Attempts  []attempt         `delta:"attempts"`
	S0        string            `delta:"s0"`
	S1        string            `delta:"s1"`
	S2        string            `delta:"s2"`
	S3        string            `delta:"s3"`
	S4        *string           `delta:"s4"`
	S5        *string           `delta:"s5"`
	S6        *string           `delta:"s6"`
	S7        *string           `delta:"s7"`
	N0        int64             `delta:"n0"`
	N1        int64             `delta:"n1"`
	N2        int64             `delta:"n2"`
	N3        int64             `delta:"n3"`
	N4        int64             `delta:"n4"`
	N5        *int64            `delta:"n5"`
	N6        *int64            `delta:"n6"`
	N7        *int64            `delta:"n7"`
	F0        float64           `delta:"f0"`
	F1        float64           `delta:"f1"`
	F2        float64           `delta:"f2"`
	F3        *float64          `delta:"f3"`
	B0        bool              `delta:"b0"`
	B1        bool              `delta:"b1"`
	B2        *bool             `delta:"b2"`
	B3        *bool             `delta:"b3"`
	Request   []byte            `delta:"request"`
	Trace     string            `delta:"trace"`
	Span      string            `delta:"span"`
	Agent     string            `delta:"agent"`
}

type tokens struct {
	Input     int64  `delta:"input"`
	Output    int64  `delta:"output"`
	CacheRead *int64 `delta:"cache_read"`
	Reasoning *int64 `delta:"reasoning"`
}

type latency struct {
	Total     float64 `delta:"total_ms"`
	FirstByte float64 `delta:"first_byte_ms"`
}

type attempt struct {
	Provider string `delta:"provider"`
	Code     int32  `delta:"code"`
}

func usageSchema() Schema {
	s := Schema{
		{Name: "id", Type: String, NotNull: true}, {Name: "event_time", Type: Timestamp}, {Name: "day", Type: Date}, {Name: "principal", Type: String},
		{Name: "client", Type: String}, {Name: "endpoint", Type: String}, {Name: "model", Type: String}, {Name: "provider", Type: String},
		{Name: "status", Type: String}, {Name: "code", Type: Integer}, {Name: "stream", Type: Boolean},
		{Name: "tokens", Type: Struct{{Name: "input", Type: Long}, {Name: "output", Type: Long}, {Name: "cache_read", Type: Long}, {Name: "reasoning", Type: Long}}},
		{Name: "price", Type: Decimal{18, 9}},
		{Name: "latency", Type: Struct{{Name: "total_ms", Type: Double}, {Name: "first_byte_ms", Type: Double}}},
		{Name: "tags", Type: Map{Key: String, Value: String}}, {Name: "headers", Type: Map{Key: String, Value: String}},
		{Name: "tools", Type: Array{Element: String}},
		{Name: "attempts", Type: Array{Element: Struct{{Name: "provider", Type: String}, {Name: "code", Type: Integer}}}},
	}
	for i := range 8 {
		s = append(s, Field{Name: fmt.Sprintf("s%d", i), Type: String}, Field{Name: fmt.Sprintf("n%d", i), Type: Long})
	}
	for i := range 4 {
		s = append(s, Field{Name: fmt.Sprintf("f%d", i), Type: Double}, Field{Name: fmt.Sprintf("b%d", i), Type: Boolean})
	}
	return append(s, Field{Name: "request", Type: Binary}, Field{Name: "trace", Type: String}, Field{Name: "span", Type: String}, Field{Name: "agent", Type: String})
}

func usageRow(i int) usage {
	n, s, price := int64(i), fmt.Sprintf("value-%d", i%100), fmt.Sprintf("0.%09d", i%1e9)
	at := time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC).Add(time.Duration(i) * 37 * time.Millisecond)
	return usage{
		ID: fmt.Sprintf("resp_%032x", i), Time: at, Day: at, Principal: fmt.Sprintf("user%d@example.com", i%50), Endpoint: "databricks-demo", Model: "m" + s, Provider: "demo",
		Status: "completed", Code: 200, Stream: i%2 == 0, Tokens: tokens{Input: n % 4096, Output: n % 777, CacheRead: &n}, Price: &price,
		Latency: latency{float64(i%1000) * 1.37, float64(i%100) * 0.9}, Tags: map[string]string{"team": s, "env": "prod", "app": "agents"},
		Headers: map[string]string{"x-request": s, "accept": "text/event-stream"}, Tools: []string{"main__sales__reviews", "python_exec"},
		Attempts: []attempt{{"demo", 200}}, S0: s, S1: s, S2: "constant", S3: fmt.Sprint(i), S4: &s, N0: n, N1: n * 7, N2: 3, N3: n % 9, N4: n, N5: &n,
		F0: float64(i) / 3, F1: 1, F2: float64(i % 10), B0: true, B1: i%3 == 0, Request: []byte(s), Trace: fmt.Sprintf("%032x", i*7919), Span: fmt.Sprintf("%016x", i*31), Agent: "openai-python/2.1",
	}
}

func cpu() time.Duration {
	var r syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// BenchmarkAppend writes usage rows into a table, batches of 20,000, with all
// that a commit does. The figure that counts is rows per second of CPU.
func BenchmarkAppend(b *testing.B) {
	const batch = 20_000
	data := make([]usage, batch)
	for i := range data {
		data[i] = usageRow(i)
	}
	asRow := func(u *usage) Row {
		return Row{u.ID, u.Time, u.Day, u.Principal, nil, u.Endpoint, u.Model, u.Provider, u.Status, u.Code, u.Stream,
			Row{u.Tokens.Input, u.Tokens.Output, *u.Tokens.CacheRead, nil}, u.N1, Row{u.Latency.Total, u.Latency.FirstByte}, u.Tags, u.Headers, u.Tools, []any{Row{"demo", 200}},
			u.S0, u.N0, u.S1, u.N1, u.S2, u.N2, u.S3, u.N3, *u.S4, u.N4, nil, *u.N5, nil, nil, nil, nil,
			u.F0, u.B0, u.F1, u.B1, u.F2, nil, nil, nil, u.Request, u.Trace, u.Span, u.Agent}
	}
	for name, row := range map[string]func(*usage) any{
		"structs": func(u *usage) any { return u },
		"rows":    func(u *usage) any { return asRow(u) },
	} {
		b.Run(name, func(b *testing.B) {
			d, err := MakeDir(b.TempDir())
			if err != nil {
				b.Fatal(err)
			}
			defer d.Close()
			t, err := Create(b.Context(), d, Definition{Schema: usageSchema()}, Options{})
			if err != nil {
				b.Fatal(err)
			}
			start := cpu()
			var bytes int64
			for b.Loop() {
				c, err := t.Append(b.Context(), Txn{}, func(yield func(any, error) bool) {
					for i := range data {
						if !yield(row(&data[i]), nil) {
							return
						}
					}
				})
				if err != nil || c.Rows != batch {
					b.Fatal(c, err)
				}
				bytes += c.Bytes
			}
			n := float64(b.N * batch)
			b.ReportMetric(n/(cpu()-start).Seconds(), "rows/cpu-s")
			b.ReportMetric(float64(bytes)/n, "bytes/row")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// BenchmarkCompact makes one file of twenty, of 5,000 usage rows each.
func BenchmarkCompact(b *testing.B) {
	var spent time.Duration
	rows := int64(0)
	for b.Loop() {
		b.StopTimer()
		table, _ := testTable(b, Definition{Schema: usageSchema()}, Options{})
		for f := range 20 {
			_, err := table.Append(b.Context(), Txn{}, func(yield func(any, error) bool) {
				for i := range 5000 {
					u := usageRow(f*5000 + i)
					if !yield(&u, nil) {
						return
					}
				}
			})
			if err != nil {
				b.Fatal(err)
			}
		}
		b.StartTimer()
		start := cpu()
		c, err := table.Compact(b.Context(), CompactOptions{})
		if err != nil || c.Before != 20 {
			b.Fatal(c, err)
		}
		spent += cpu() - start
		rows += c.Rows
	}
	b.ReportMetric(float64(rows)/spent.Seconds(), "rows/cpu-s")
	b.ReportMetric(0, "ns/op")
}

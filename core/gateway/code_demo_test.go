package gateway_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/sallyport-gateway/sallyport/examples/samples"
)

// The demo model computes over a declared table in each language when it is
// asked to, streamed and not.
func demoComputes(t *testing.T, w *world) {
	count, sum := map[string]int{}, map[string]int{}
	reviews := samples.Reviews(samples.Seed)
	for _, r := range reviews {
		count[r.Country]++
		sum[r.Country] += int(r.Stars)
	}
	mean := float64(sum["DE"]) / float64(count["DE"])
	for _, tt := range []struct{ ask, function, want string }{
		{"What is the average stars by country, in Python?", pythonExec, fmt.Sprintf("DE, %v", mean)},
		{"What is the average stars by country, with SQLite?", sqlExec, fmt.Sprintf("| DE | %.6f |", mean)},
		{"How many reviews are there, in the shell?", shellExec, fmt.Sprintf("\n%d\n", len(reviews))},
	} {
		for _, stream := range []bool{false, true} {
			a := w.ask(t, object{"model": "databricks-demo", "input": tt.ask, "stream": stream, "tools": tools()[:1]})
			if a.status != http.StatusOK || !strings.Contains(a.text(), tt.want) || !strings.Contains(string(a.raw), `"`+tt.function+`"`) {
				t.Errorf("%s stream=%v: got %d %s, want %q by %s", tt.ask, stream, a.status, a.raw, tt.want, tt.function)
			}
		}
	}
}

package supervisor_test

import (
	"context"
	"iter"
	"testing"

	"github.com/sallyport-gateway/sallyport/core/router"
	"github.com/sallyport-gateway/sallyport/core/supervisor"
	"github.com/sallyport-gateway/sallyport/core/supervisor/render"
	"github.com/sallyport-gateway/sallyport/core/toolset"
	"github.com/sallyport-gateway/sallyport/core/usage"
	"github.com/sallyport-gateway/sallyport/core/usage/usagetest"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
)

// Every call of a run, of the model and of tools, belongs to the run's HTTP
// request, and every hosted call is settled before the client sees the end.
func TestCallsBelongToTheRequest(t *testing.T) {
	t.Parallel()
	log := usagetest.New(t, nil)
	w := newRecordedWorld(t, supervisor.Limits{}, toolset.Limits{}, log.Recorder)
	// The third call is of the client's function; the fourth of one that nobody
	// offers; neither is a hosted call.
	model := parseScript(t, `
		turn
		call a main__sales__reviews {"sql":"SELECT 1"}
		call b main__sales__reviews [1]
		turn
		call c invented {}
		call d main__sales__reviews {"sql":"panic"}
		turn
		call e mine {}`)
	src := &usage.Source{RequestID: "req-1", Session: "s-1"}
	asked := 0
	w.model = func(ctx context.Context, c router.Call) iter.Seq2[openresponses.Event, error] {
		if asked++; c.Source != src {
			t.Errorf("turn %d is asked for %+v, want the run's request", asked, c.Source)
		}
		if n := log.Open(); n != 0 {
			t.Errorf("%d hosted calls are open when the model is asked for turn %d", n, asked)
		}
		return model.generate(ctx, c)
	}
	req, err := openresponses.ParseRequest([]byte(`{"model":"m","input":"x","tools":[{"type":"table","table":{"name":"main.sales.reviews"}},{"type":"function","name":"mine"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.sup.Run(t.Context(), supervisor.Run{Principal: w.alice, Request: req, Dialect: render.Databricks, Source: src}, func(e render.Event) error {
		if e.Type == openresponses.EventCompleted && log.Open() != 0 {
			t.Error("a hosted call is open when the end is told")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	rows := log.Rows()
	if len(rows) != 3 || asked != 3 {
		t.Fatalf("%d rows after %d turns, want 3 after 3: %v", len(rows), asked, rows)
	}
	count := map[string]int{}
	for _, r := range rows {
		count[r["status"]]++
		if r["request_id"] != "req-1" || r["session_id"] != "s-1" || r["requester"] != "alice@example.com" || r["service_name"] != "main.sales.reviews" {
			t.Errorf("row = %v", r)
		}
	}
	if count[usage.Completed] != 1 || count[usage.Refused] != 1 || count[usage.Failed] != 1 {
		t.Errorf("statuses = %v, want one completed, one refused, one failed", count)
	}
}

package ratelimit_test

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-gateway/sallyport/core/ratelimit"
	"github.com/sallyport-gateway/sallyport/core/store"
	"github.com/sallyport-gateway/sallyport/core/tables"
	"github.com/sallyport-gateway/sallyport/core/usage"
	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/provider"
)

const childDir = "RATELIMIT_TEST_CHILD_DIR"

var quiet = slog.New(slog.DiscardHandler)

// gateway is what a gateway has of limits and usage, over a directory.
type gateway struct {
	limits *ratelimit.Service
	rec    *usage.Recorder
	tables *tables.Set
	db     *store.DB
}

func start(t *testing.T, dir string, cfg ratelimit.Config) *gateway {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	g := new(gateway)
	var err error
	g.db, err = store.Open(t.Context(), "sqlite:"+filepath.Join(dir, "state.db"), quiet)
	must(err)
	defs := []tables.Definition{{Name: usage.UsageTable, Kind: usage.UsageKind()}}
	g.tables, err = tables.Open(t.Context(), tables.Dirs{Log: filepath.Join(dir, "log"), Tables: filepath.Join(dir, "tables")}, tables.Config{FlushAfter: 30 * time.Millisecond}, defs, g.db, quiet)
	must(err)
	g.rec, err = usage.New(t.Context(), g.tables, usage.Config{SpillDir: filepath.Join(dir, "spill"), Log: quiet})
	must(err)
	g.limits, err = ratelimit.New(cfg, quiet, ratelimit.Options{})
	must(err)
	since, whole := g.limits.Since()
	must(g.limits.Restore(func(yield func(ratelimit.Row, error) bool) {
		for r, err := range usage.Rows(t.Context(), g.tables, since, whole) {
			if !yield(ratelimit.Row(r), err) {
				return
			}
		}
	}))
	return g
}

func (g *gateway) stop(t *testing.T) {
	t.Helper()
	for _, err := range []error{g.limits.Close(), g.rec.Close(), g.tables.Close(), g.db.Close()} {
		if err != nil {
			t.Error(err)
		}
	}
}

var (
	usd   = func(f float64) *float64 { return &f }
	price = &usage.Price{Input: usd(10), Output: usd(20)}
	ana   = ratelimit.Caller{Name: "ana", Groups: []string{"analysts"}}
)

// endedCost is what a call costs, in USD of 1e-12.
const endedCost = 1000*10_000_000 + 300*20_000_000

// call makes a call as the router does. told hears of it when its row is begun
// and when it has ended.
func (g *gateway) call(ctx context.Context, told func(string)) error {
	ticket, err := g.limits.Reserve(ctx, ratelimit.Request{Op: provider.Generate, Model: "m", Caller: ana, Input: 1000, MaxOutput: 500})
	s := usage.Start{Time: time.Now(), Requester: ana.Name, Groups: ana.Groups, Model: "m", Provider: "p", DestinationModel: "x", Price: price, EstimatedInput: 1000}
	if err != nil {
		if fault := g.rec.Refuse(ctx, s, usage.Outcome{Code: apierror.CodeOf(err)}); fault != nil {
			return fault
		}
		return err
	}
	row, err := g.rec.Begin(ctx, s)
	if err != nil {
		ticket.Release()
		return err
	}
	told("begun")
	attempts := []usage.Attempt{{Provider: "p", Model: "x", Action: usage.Primary, Status: 200, Usage: openresponses.Usage{Input: 1000, Output: 300}, Price: price}}
	row.End(usage.Outcome{Status: usage.Completed, Attempts: attempts})
	cost, _ := usage.Cost(attempts)
	ticket.Settle(attempts[0].Usage, cost)
	told("ended")
	return nil
}

var config = ratelimit.Config{
	Models: map[string][]ratelimit.Limit{"m": {
		{Each: "user", Requests: 100_000, Tokens: 1_000_000_000, Per: "hour"},
		{Of: "group analysts", Requests: 100_000, Per: "hour"},
	}},
	Budgets: []ratelimit.Budget{{Each: "user", USD: 100_000, Per: "month"}, {Of: "group analysts", USD: 100_000, Per: "week"}, {Of: "model m", USD: 100_000, Per: "day"}},
}

// TestRestartedChild is no test of its own: it is the gateway that TestRestarted
// kills.
func TestRestartedChild(t *testing.T) {
	dir := os.Getenv(childDir)
	if dir == "" {
		return
	}
	g := start(t, dir, config)
	for range 4 {
		go func() {
			for {
				if err := g.call(t.Context(), func(what string) { fmt.Println(what) }); err != nil {
					fmt.Println("error", err)
					return
				}
			}
		}()
	}
	select {}
}

// TestRestarted: a gateway that was killed counts, right after its start, every
// call that had ended, and those that had begun with what they are charged; a
// budget that was spent blocks the first call.
func TestRestarted(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	began := time.Now().UTC()
	begun, ended := int64(0), int64(0)
	for round := range 3 {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestRestartedChild$")
		cmd.Env = append(os.Environ(), childDir+"="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		n := 0
		for lines := bufio.NewScanner(out); lines.Scan(); {
			switch {
			case lines.Text() == "begun":
				begun++
			case lines.Text() == "ended":
				ended++
			case strings.HasPrefix(lines.Text(), "error"):
				t.Error(lines.Text())
			}
			if n++; n == 150+200*round {
				cmd.Process.Kill()
			}
		}
		cmd.Wait()
	}

	g := start(t, dir, config)
	st := g.limits.Standing(ana, []string{"m"})
	rows, cost := int64(0), int64(0)
	for r, err := range usage.Rows(t.Context(), g.tables, began, began) {
		if err != nil {
			t.Fatal(err)
		}
		rows++
		cost += r.CostPico
	}
	if rows < begun || rows < 200 || begun < ended { // a line may be lost, a row not
		t.Errorf("%d rows of %d calls that began and %d that ended", rows, begun, ended)
	}
	if least, most := ended*endedCost, rows*endedCost; cost < least || cost > most {
		t.Errorf("%d of cost, not between %d and %d", cost, least, most)
	}
	for _, b := range st.Budgets {
		if got := int64(b.Spent*1e12 + 0.5); got != cost && time.Now().UTC().Day() == began.Day() {
			t.Errorf("%s: %d spent, and the rows say %d", b.Scope, got, cost)
		}
	}
	for _, l := range st.Limits {
		if l.Requests != nil && l.Requests.Used != rows {
			t.Errorf("%s: %d requests used, and there are %d rows", l.Scope, l.Requests.Used, rows)
		}
	}
	g.stop(t)

	// With a budget of what is spent, the first call is refused, also the next
	// time, and leaves a row without cost.
	small := config
	small.Budgets = []ratelimit.Budget{{Each: "user", USD: float64(cost/1_000_000) / 1e6, Per: "month"}}
	for range 2 {
		g = start(t, dir, small)
		err := g.call(t.Context(), func(what string) { t.Error(what) })
		if !apierror.Is(err, apierror.BudgetExceeded) {
			t.Errorf("the first call after the restart: %v", err)
		}
		g.stop(t)
	}
	g = start(t, dir, small)
	defer g.stop(t)
	refused := 0
	for r, err := range usage.Rows(t.Context(), g.tables, began, began) {
		if err != nil {
			t.Fatal(err)
		}
		if r.Status == usage.Refused {
			refused++
			if r.CostPico != 0 || r.Usage.Total() != 0 {
				t.Errorf("%+v", r)
			}
		}
	}
	if refused != 2 {
		t.Errorf("%d rows of refused calls", refused)
	}
	if got := int64(g.limits.Standing(ana, nil).Budgets[0].Spent*1e12 + 0.5); got != cost {
		t.Errorf("refused calls changed what is spent: %d, was %d", got, cost)
	}
}

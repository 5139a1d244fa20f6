//go:build e2e && linux

package gatewaytest_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sallyport-gateway/sallyport/core/gatewaytest"
)

// Every hostile program ends with a result that tells its model why, and what
// its request runs afterwards runs. The gateway serves the others meanwhile, and
// nothing of the programs is left.
func TestHostileProgramsInAGateway(t *testing.T) {
	t.Parallel()
	w := newHostileWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var programs, others sync.WaitGroup
	for i, h := range hostilePrograms {
		programs.Go(func() {
			got, err := w.hostile(t.Context(), i)
			if err != nil {
				t.Errorf("%s %q: %v", h.function, h.code, err)
				return
			}
			t.Logf("%-32.32q exit %d, truncated %t, %q", h.code, got.ExitCode, got.Truncated, got.why())
			if !h.ends.MatchString(got.why()) {
				t.Errorf("%s %q: its model sees %q, want %s", h.function, h.code, got.why(), h.ends)
			}
			if got.size > 80<<10 {
				t.Errorf("%s %q: its model sees %d bytes", h.function, h.code, got.size)
			}
		})
	}
	served := make(chan bool, 1)
	for c := range 2 {
		others.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				if err := w.other(t.Context(), kinds[(n+c)%len(kinds)]); err != nil {
					t.Errorf("another request meanwhile: %v", err)
					return
				}
				if err := w.healthy(t.Context()); err != nil {
					t.Error(err)
					return
				}
				select {
				case served <- true:
				default:
				}
			}
		})
	}
	programs.Wait()
	select {
	case <-served:
	default:
		t.Error("no other request was served meanwhile")
	}
	cancel()
	others.Wait()
	for _, k := range kinds {
		if err := w.other(t.Context(), k); err != nil {
			t.Errorf("another request afterwards: %v", err)
		}
	}
	if err := w.healthy(t.Context()); err != nil {
		t.Errorf("afterwards: %v", err)
	}
	gatewaytest.Eventually(t, time.Minute, "no session and no program to be left", func() bool {
		return w.metric(t, `sallyport_code_sessions`)+w.metric(t, `sallyport_code_programs{state="running"}`)+w.metric(t, `sallyport_code_programs{state="waiting"}`) == 0
	})
	if r := w.openai.Refusals(); len(r) > 0 {
		t.Errorf("the provider refused: %q", r)
	}
	workers := w.workers(t)
	if len(workers) == 0 {
		t.Error("no worker has said that it is ready")
	}
	w.gateway.Stop()
	for _, pid := range workers {
		if _, err := os.Stat(fmt.Sprintf("/proc/%d", pid)); !errors.Is(err, fs.ErrNotExist) && isWorker(pid) {
			t.Errorf("worker %d runs without its gateway", pid)
		}
	}
}

// healthy asks the gateway how it is.
func (w *hostileWorld) healthy(ctx context.Context) error {
	raw, err := w.do(ctx, http.MethodGet, w.gateway.URL()+"/health", "", nil)
	if err != nil {
		return err
	}
	if !strings.Contains(string(raw), `"status":"ok"`) {
		return fmt.Errorf("the gateway says of its health %s", raw)
	}
	return nil
}

var metricsLine = regexp.MustCompile(`msg="serving metrics" url=(\S+)`)

// metric is the value of one of the gateway's metrics.
func (w *hostileWorld) metric(t *testing.T, name string) float64 {
	t.Helper()
	m := metricsLine.FindStringSubmatch(w.gateway.Log())
	if m == nil {
		t.Fatal("the log does not say where metrics are")
	}
	raw, err := w.do(t.Context(), http.MethodGet, m[1], "", nil)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(raw)) {
		if v, ok := strings.CutPrefix(line, name+" "); ok {
			n, err := strconv.ParseFloat(strings.TrimSpace(v), 64)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatalf("there is no metric %s", name)
	return 0
}

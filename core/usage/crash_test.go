package usage

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-gateway/sallyport/core/tables"
)

const childDir = "USAGE_TEST_CHILD_DIR"

// TestKilledChild is no test of its own: it is the process that TestKilled
// kills. It says what it has done as soon as it has.
func TestKilledChild(t *testing.T) {
	dir := os.Getenv(childDir)
	if dir == "" {
		return
	}
	w := openWorld(t, dir, tables.Config{FlushAfter: 20 * time.Millisecond})
	for range 4 {
		go func() {
			for {
				s := sampleStart()
				s.PayloadTable = payloadTable
				c, err := w.rec.Begin(t.Context(), s)
				if err != nil {
					fmt.Println("error", err)
					return
				}
				fmt.Println("begun", c.ID()) // now the provider is asked
				c.Payload().Request([]byte(`{}`))
				c.Payload().Write([]byte(`{"output":[]}`))
				time.Sleep(time.Duration(rand.IntN(2000)) * time.Microsecond)
				c.End(sampleOutcome())
				fmt.Println("ended", c.ID()) // now the last byte is given on
			}
		}()
	}
	select {}
}

// TestKilled: whenever the process is killed, each call that reached the
// provider has one row; a whole one when the client got its whole reply.
func TestKilled(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	begun, ended := map[string]bool{}, map[string]bool{}
	for round := range 4 {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKilledChild$")
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
			what, id, _ := strings.Cut(lines.Text(), " ")
			switch what {
			case "begun":
				begun[id] = true
			case "ended":
				ended[id] = true
			case "error":
				t.Error(lines.Text())
			}
			if n++; n == 60+70*round {
				cmd.Process.Kill()
			}
		}
		cmd.Wait()
	}
	w := openWorld(t, dir, tables.Config{})
	status := map[string]string{}
	for _, r := range w.committed(t, UsageTable) {
		id := r["invocation_id"].(string)
		if status[id] != "" {
			t.Errorf("call %s has two rows", id)
		}
		status[id] = r["status"].(string)
		if status[id] != Interrupted {
			continue
		}
		want := fmt.Sprint("interrupted estimated 1200 0 ", 1200*3e-6, " ana@example.com anthropic <nil> <nil>")
		if got := fmt.Sprint(r["error_code"], " ", r["token_source"], " ", r["input_tokens"], " ", r["output_tokens"], " ", r["cost_usd"], " ", r["requester"], " ", r["destination_name"], " ", r["latency_ms"], " ", r["status_code"]); got != want {
			t.Errorf("interrupted row: %s, want %s", got, want)
		}
	}
	for id := range begun {
		if status[id] == "" {
			t.Errorf("call %s reached the provider and has no row", id)
		}
	}
	payloads := map[string]bool{}
	for _, r := range w.committed(t, payloadTable) {
		payloads[r["invocation_id"].(string)] = true
	}
	for id := range ended {
		if status[id] != Completed || !payloads[id] {
			t.Errorf("call %s ended and is %q, payload %v", id, status[id], payloads[id])
		}
	}
	if len(begun) < 100 || len(ended) < 100 || len(begun) == len(ended) {
		t.Errorf("%d calls begun, %d ended: not what the test is about", len(begun), len(ended))
	}
}

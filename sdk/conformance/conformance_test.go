package conformance_test

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sallyport-gateway/sallyport/sdk/conformance"
)

// faulty is the program of testdata/faulty.
var faulty string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "sp-faulty-")
	if err != nil {
		panic(err)
	}
	faulty = filepath.Join(dir, "faulty")
	if out, err := exec.Command("go", "build", "-o", faulty, "./testdata/faulty").CombinedOutput(); err != nil {
		panic(string(out) + err.Error())
	}
	// The tests wait for plugins that do nothing: more of them at once than
	// there are processors.
	flag.Parse()
	if f := flag.Lookup("test.parallel"); f.Value.String() == strconv.Itoa(runtime.GOMAXPROCS(0)) {
		flag.Set("test.parallel", "8")
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

func check(t *testing.T, kind, fault string, only ...string) conformance.Report {
	t.Helper()
	r, err := conformance.Check(t.Context(), conformance.Config{
		Program: []string{faulty, kind, fault}, Dir: filepath.Join("testdata", "faulty", kind), Calls: 100, Patience: time.Minute, Only: only,
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// The plugin without a fault passes every check.
func TestFaultless(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"tool", "provider"} {
		r := check(t, kind, "none")
		for _, f := range r.Findings {
			t.Errorf("%s: %s", kind, f)
		}
		for _, s := range r.Skipped {
			t.Errorf("%s: %s was skipped: %s", kind, s.Check, s.Why)
		}
		t.Logf("%s: %d checks in %.1f s: %s", kind, len(r.Passed), r.Seconds, strings.Join(r.Passed, ", "))
	}
}

// planted are the faults of testdata/faulty, and the rule by which the kit must
// find each.
var planted = []struct {
	kind, fault, rule string
	only              string // the check to make, beside those that all others build on
}{
	{"tool", "describe-prints", "describe-output", "describe"},
	{"tool", "describe-hangs", "describe-hangs", "describe"},
	{"tool", "describe-needs-cookie", "describe-needs-env", "describe"},
	{"tool", "unstable-describe", "describe-unstable", "describe"},
	{"tool", "wrong-schema", "manifest-schema", "manifest"},
	{"tool", "crash-on-start", "start-crash", "start"},
	{"tool", "hang-before-handshake", "handshake-timeout", "start"},
	{"tool", "prints-before-handshake", "stdout-before-handshake", "start"},
	{"tool", "wrong-health", "unhealthy", "start"},
	{"tool", "takes-unknown-settings", "unknown-setting-accepted", "settings"},
	{"tool", "refuses-unknown-fields", "unknown-field-refused", "unknown wire fields"},
	{"tool", "wrong-declaration", "function-declaration", "functions"},
	{"tool", "nameless-function", "function-name", "functions"},
	{"tool", "parameters-no-object", "function-parameters", "functions"},
	{"tool", "open-changes", "open-unstable", "functions"},
	{"tool", "panics-on-bad-arguments", "bad-arguments", "bad arguments"},
	{"tool", "dies-on-bad-arguments", "crash-on-bad-arguments", "bad arguments"},
	{"tool", "accepts-bad-arguments", "bad-arguments-accepted", "bad arguments"},
	{"tool", "error-without-code", "error-without-code", "host errors"},
	{"tool", "oversize-result", "result-oversize", "end of a call"},
	{"tool", "mixes-calls", "calls-mixed", "side by side"},
	{"tool", "ignores-cancel", "ignores-cancel", "cancellation"},
	{"tool", "host-after-end", "host-after-end", "end of a call"},
	{"tool", "leaks-goroutines", "leaks-goroutines", "growth"},
	{"tool", "leaks-threads", "leaks-threads", "growth"},
	{"tool", "leaks-descriptors", "leaks-descriptors", "growth"},
	{"tool", "leaks-memory", "leaks-memory", "growth"},
	{"tool", "ignores-shutdown", "ignores-shutdown", "shutdown"},
	{"tool", "leaves-child", "child-left", "shutdown"},
	{"tool", "leaves-socket", "socket-left", "shutdown"},
	{"tool", "outlives-parent", "outlives-parent", "parent dies"},
	{"tool", "prints-later", "stdout-noise", "stdout"},

	{"provider", "sends-credential", "upstream-credential", "dialogues"},
	{"provider", "absolute-url", "upstream-host", "dialogues"},
	{"provider", "leading-slash", "upstream-path", "dialogues"},
	{"provider", "hides-losses", "lost-unlisted", "lost fields"},
	{"provider", "loses-usage", "usage-missing", "dialogues"},
	{"provider", "two-terminals", "two-terminal-events", "dialogues"},
	{"provider", "event-after-terminal", "event-after-terminal", "dialogues"},
	{"provider", "no-terminal", "no-terminal-event", "dialogues"},
	{"provider", "wrong-code", "error-code", "cut replies"},
	{"provider", "splits-wrongly", "split-dependent", "splits"},
	{"provider", "cut-is-success", "cut-as-complete", "cut replies"},
	{"provider", "dies-on-cut", "crash-on-cut-reply", "cut replies"},
	{"provider", "dies-on-garbage", "crash-on-garbage", "garbage replies"},
	{"provider", "mixes-calls", "calls-mixed", "side by side"},
	{"provider", "ignores-cancel", "ignores-cancel", "cancellation"},
	{"provider", "takes-unknown-settings", "unknown-setting-accepted", "settings"},
	{"provider", "leaks-goroutines", "leaks-goroutines", "growth"},

	{"provider", "wrong-surface", "manifest-surface", "manifest"},
	{"provider", "front-wrong-code", "accept-code", "surfaces, wrong bodies"},
	{"provider", "front-no-field", "accept-field", "surfaces, wrong bodies"},
	{"provider", "front-dies", "crash-on-garbage", "surfaces, wrong bodies"},
	{"provider", "front-wrong-op", "asked-op", "surfaces"},
	{"provider", "front-splits-event", "write-splits-event", "surfaces, frames"},
	{"provider", "front-malformed", "stream-malformed", "surfaces"},
	{"provider", "front-no-end", "stream-without-end", "surfaces, broken off"},
	{"provider", "front-hides-error", "error-hidden", "surfaces, broken off"},
	{"provider", "front-error-as-body", "error-as-body", "surfaces, broken off"},
	{"provider", "front-body-pieces", "body-in-pieces", "surfaces, frames"},
	{"provider", "front-clock", "front-timing", "surfaces, slow events"},
	{"provider", "front-mixes", "calls-mixed", "surfaces, side by side"},
	{"provider", "front-ignores-cancel", "ignores-cancel", "surfaces, frames"},
}

// Each planted fault is found by its own rule, with what was sent, what came
// and a hint, and no two faults of a kind give the same message.
func TestPlantedFaults(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	seen := map[string]string{}
	for _, p := range planted {
		t.Run(p.kind+"/"+p.fault, func(t *testing.T) {
			t.Parallel() // most of the time is waiting
			r := check(t, p.kind, p.fault, p.only)
			for _, f := range r.Findings {
				if f.Rule != p.rule {
					t.Logf("also: %s (%s): %s", f.Rule, f.Check, f.Got)
					continue
				}
				if f.Sent == "" || f.Got == "" || f.Hint == "" {
					t.Errorf("the finding is not whole: %s", f)
				}
				mu.Lock()
				defer mu.Unlock()
				if other := seen[p.kind+f.Got]; other != "" && other != p.fault {
					t.Errorf("the message is the same as for %s: %s", other, f.Got)
				}
				seen[p.kind+f.Got] = p.fault
				t.Logf("%.1f s: %s", r.Seconds, f)
				return
			}
			t.Errorf("the rule %q was not found broken; findings: %v", p.rule, r.Findings)
		})
	}
}

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
		Program: []string{faulty, kind, fault}, Dir: filepath.Join("testdata", "faulty", kind), Calls: 100, Patience: 6 * time.Second, Only: only,
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
	only              string // the check to make, of faults that make others take long
}{
	{"tool", "describe-prints", "describe-output", ""},
	{"tool", "describe-hangs", "describe-hangs", ""},
	{"tool", "describe-needs-cookie", "describe-needs-env", ""},
	{"tool", "unstable-describe", "describe-unstable", ""},
	{"tool", "wrong-schema", "manifest-schema", ""},
	{"tool", "crash-on-start", "start-crash", ""},
	{"tool", "hang-before-handshake", "handshake-timeout", ""},
	{"tool", "prints-before-handshake", "stdout-before-handshake", ""},
	{"tool", "wrong-health", "unhealthy", ""},
	{"tool", "takes-unknown-settings", "unknown-setting-accepted", ""},
	{"tool", "refuses-unknown-fields", "unknown-field-refused", ""},
	{"tool", "wrong-declaration", "function-declaration", ""},
	{"tool", "nameless-function", "function-name", ""},
	{"tool", "parameters-no-object", "function-parameters", ""},
	{"tool", "open-changes", "open-unstable", ""},
	{"tool", "panics-on-bad-arguments", "bad-arguments", ""},
	{"tool", "dies-on-bad-arguments", "crash-on-bad-arguments", ""},
	{"tool", "accepts-bad-arguments", "bad-arguments-accepted", ""},
	{"tool", "error-without-code", "error-without-code", ""},
	{"tool", "oversize-result", "result-oversize", "end of a call"},
	{"tool", "mixes-calls", "calls-mixed", ""},
	{"tool", "ignores-cancel", "ignores-cancel", "cancellation"},
	{"tool", "host-after-end", "host-after-end", "end of a call"},
	{"tool", "leaks-goroutines", "leaks-goroutines", ""},
	{"tool", "leaks-threads", "leaks-threads", ""},
	{"tool", "leaks-descriptors", "leaks-descriptors", ""},
	{"tool", "leaks-memory", "leaks-memory", ""},
	{"tool", "ignores-shutdown", "ignores-shutdown", "shutdown"},
	{"tool", "leaves-child", "child-left", "shutdown"},
	{"tool", "leaves-socket", "socket-left", ""},
	{"tool", "outlives-parent", "outlives-parent", "parent dies"},
	{"tool", "prints-later", "stdout-noise", ""},

	{"provider", "sends-credential", "upstream-credential", ""},
	{"provider", "absolute-url", "upstream-host", ""},
	{"provider", "leading-slash", "upstream-path", ""},
	{"provider", "hides-losses", "lost-unlisted", ""},
	{"provider", "loses-usage", "usage-missing", ""},
	{"provider", "two-terminals", "two-terminal-events", ""},
	{"provider", "event-after-terminal", "event-after-terminal", ""},
	{"provider", "no-terminal", "no-terminal-event", ""},
	{"provider", "wrong-code", "error-code", ""},
	{"provider", "splits-wrongly", "split-dependent", ""},
	{"provider", "cut-is-success", "cut-as-complete", ""},
	{"provider", "dies-on-cut", "crash-on-cut-reply", ""},
	{"provider", "dies-on-garbage", "crash-on-garbage", ""},
	{"provider", "mixes-calls", "calls-mixed", ""},
	{"provider", "ignores-cancel", "ignores-cancel", "cancellation"},
	{"provider", "takes-unknown-settings", "unknown-setting-accepted", ""},
	{"provider", "leaks-goroutines", "leaks-goroutines", ""},

	{"provider", "wrong-surface", "manifest-surface", ""},
	{"provider", "front-wrong-code", "accept-code", ""},
	{"provider", "front-no-field", "accept-field", ""},
	{"provider", "front-dies", "crash-on-garbage", ""},
	{"provider", "front-wrong-op", "asked-op", ""},
	{"provider", "front-splits-event", "write-splits-event", ""},
	{"provider", "front-malformed", "stream-malformed", ""},
	{"provider", "front-no-end", "stream-without-end", ""},
	{"provider", "front-hides-error", "error-hidden", ""},
	{"provider", "front-error-as-body", "error-as-body", ""},
	{"provider", "front-body-pieces", "body-in-pieces", ""},
	{"provider", "front-clock", "front-timing", ""},
	{"provider", "front-mixes", "calls-mixed", ""},
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
			var only []string
			if p.only != "" {
				only = append(only, p.only)
			}
			r := check(t, p.kind, p.fault, only...)
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

package python_test

import (
	"bytes"
	"context"
	"fmt"
	osexec "os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/sallyport-gateway/sallyport/sandbox/internal/session"
)

// programs define run, which is all that is measured: neither the start of the
// interpreter nor imports and compilation count. Each takes some
// 50 ms of native CPython and returns the same there and here.
var programs = []struct{ name, code string }{
	{"fib", `
def fib(n): return n if n < 2 else fib(n - 1) + fib(n - 2)
def run(): return fib(28)`},
	{"loop", `
def run():
    s = 0
    for i in range(700_000): s += i * i % 7
    return s`},
	{"sort", `
import random
r = random.Random(7)
numbers = [r.random() for _ in range(100_000)]
def run(): return sum(sorted(numbers)[::1000]) + len(sorted(map(str, numbers[:40_000]), reverse=True))`},
	{"json", `
import json
rows = [{"id": i, "name": f"name {i}", "tags": ["a", "b", str(i)], "price": i / 4} for i in range(5_000)]
def run():
    for _ in range(4): text = json.dumps(json.loads(json.dumps(rows)))
    return len(text)`},
	{"re", `
import re
text = "".join(f"{i}: user{i}@host{i % 13}.example, 2026-0{i % 9 + 1}-1{i % 10}; " for i in range(6_000))
def run(): return len(re.findall(r"[\w.]+@(\w+\.)+\w+|(\d{4})-(\d\d)-(\d\d)", text)) + len(re.sub(r"(\w+)@", r"<\1>", text))`},
	{"bigint", `
def run():
    f = 1
    for i in range(1, 4000): f *= i
    return f % 1_000_003 + pow(3, f >> 36_000, 2**2203 - 1) % 1_000_003`},
}

// measured lets native Python say what one call of run took of its processor, and its answer.
const measured = `
from time import process_time
start = process_time()
answer = run()
print(process_time() - start, answer)
`

// BenchmarkAgainstNative compares processor time with that of the machine's
// python3. The two take turns, so that what else the machine does meets both.
func BenchmarkAgainstNative(b *testing.B) {
	native, err := osexec.LookPath("python3")
	if err != nil {
		b.Fatalf("the guest is compared with the machine's python3, and there is none on the PATH; install it: %v", err)
	}
	const pairs = 5 // of each program in one operation
	here, there := make([][]time.Duration, len(programs)), make([][]time.Duration, len(programs))
	for b.Loop() {
		for range pairs {
			for i, p := range programs {
				cpu, answer := inGuest(b, p.code)
				nativeCPU, want := inNative(b, native, p.code)
				if answer != want {
					b.Fatalf("%s: %q in the guest, %q native", p.name, answer, want)
				}
				here[i], there[i] = append(here[i], cpu), append(there[i], nativeCPU)
			}
		}
	}

	var table bytes.Buffer
	w := tabwriter.NewWriter(&table, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "program\tguest CPU ms\tnative CPU ms\tratio\t")
	for i, p := range programs {
		ratios := make([]float64, len(here[i]))
		for j := range ratios {
			ratios[j] = here[i][j].Seconds() / there[i][j].Seconds()
		}
		ratio := median(ratios)
		b.ReportMetric(ratio, "x-native/"+p.name)
		fmt.Fprintf(w, "%s\t%.1f\t%.1f\t%.2f\t\n", p.name, milliseconds(median(here[i])), milliseconds(median(there[i])), ratio)
	}
	w.Flush()
	version, err := osexec.Command(native, "--version").Output()
	if err != nil {
		b.Fatal(err)
	}
	b.Logf("against %s, medians of %d pairs\n%s", strings.TrimSpace(string(version)), len(here[0]), &table)
}

func milliseconds(d time.Duration) float64 { return d.Seconds() * 1000 }

func median[T float64 | time.Duration](list []T) T {
	return slices.Sorted(slices.Values(list))[len(list)/2]
}

// inGuest runs a program in a session of its own and returns what run took and answered.
func inGuest(b *testing.B, code string) (time.Duration, string) {
	b.Helper()
	s, err := session.Open(loaded, session.Setup{Limits: session.Limits{CPU: time.Minute, Wall: 10 * time.Minute}})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	var r session.Result
	for _, part := range []string{code, "print(run())"} {
		if r, err = s.Exec(context.Background(), session.Program{Language: session.Python, Code: part}); err != nil || r.Exit != 0 {
			b.Fatalf("%+v, %v", r, err)
		}
	}
	return r.CPU, strings.TrimSpace(r.Stdout)
}

// inNative runs a program in a process of its own, with the library alone.
func inNative(b *testing.B, python, code string) (time.Duration, string) {
	b.Helper()
	var stderr bytes.Buffer
	cmd := osexec.Command(python, "-I", "-c", code+measured)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		b.Fatalf("%s: %v\n%s", python, err, &stderr)
	}
	seconds, answer, _ := strings.Cut(strings.TrimSpace(string(out)), " ")
	s, err := strconv.ParseFloat(seconds, 64)
	if err != nil || s <= 0 {
		b.Fatalf("%s: %q", python, out)
	}
	return time.Duration(s * float64(time.Second)), answer
}

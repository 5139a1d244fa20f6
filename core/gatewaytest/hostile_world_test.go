//go:build linux

package gatewaytest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/sallyport-gateway/sallyport/core/gatewaytest"
	"github.com/sallyport-gateway/sallyport/core/gatewaytest/upstream"
	"github.com/sallyport-gateway/sallyport/sandbox/guests/guesttest"
)

// The functions by which models run programs.
const (
	pythonExec = "system__ai__python_exec"
	sqlExec    = "system__ai__sql_exec"
	shellExec  = "system__ai__shell_exec"
)

// How a hostile program may end, as its model is told. What computes may be
// stopped for its time on a machine that has other things to do.
const (
	stopped  = `took too long|too much processor time`
	tooLarge = `MemoryError|too much memory|out of memory|too big|` + stopped
)

// hostilePrograms want more than they may have.
var hostilePrograms = []struct {
	function, code string
	ends           *regexp.Regexp
}{
	{pythonExec, "while True: pass", regexp.MustCompile(stopped)},
	{pythonExec, "while True:\n  try:\n    while True: pass\n  except BaseException: pass", regexp.MustCompile(stopped)},
	{pythonExec, "from itertools import repeat\nsum(repeat(0))", regexp.MustCompile(stopped)},
	{pythonExec, "import re\nre.match('(a+)+$', 'a'*60 + 'b')", regexp.MustCompile(stopped)},
	{pythonExec, "x = 10**10**8", regexp.MustCompile(tooLarge)},
	{pythonExec, "l = []\nwhile True: l.append(bytearray(1 << 20))", regexp.MustCompile(tooLarge)},
	{pythonExec, "while True: print('x' * 100000)", regexp.MustCompile(stopped)},
	{pythonExec, "n = 0\nwhile True:\n  open(f'/tmp/{n}', 'w').write('x'); n += 1", regexp.MustCompile(`OSError|` + stopped)},
	{pythonExec, "f = open('/tmp/f', 'wb')\nwhile True: f.write(bytes(1 << 20))", regexp.MustCompile(`OSError|` + stopped)},
	{pythonExec, "import sys\nsys.setrecursionlimit(10**9)\ndef f(): f()\nf()", regexp.MustCompile(`RecursionError|SystemError|recursion that is too deep|` + tooLarge)},
	{pythonExec, "import time\nwhile True: time.sleep(0.001)", regexp.MustCompile(stopped)},
	{pythonExec, "import time\ntime.sleep(10**6)", regexp.MustCompile(stopped)},
	{pythonExec, "import os\nos._exit(0)", regexp.MustCompile(`ended its interpreter|AttributeError|SystemExit`)},
	{pythonExec, "import os\nwhile True: os.fork()", regexp.MustCompile(`AttributeError|OSError|NotImplementedError`)},
	{sqlExec, "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c) SELECT count(*) FROM c", regexp.MustCompile(stopped)},
	{sqlExec, "SELECT length(randomblob(1000000000))", regexp.MustCompile(tooLarge)},
	{sqlExec, "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c) SELECT x, hex(zeroblob(1000)) FROM c", regexp.MustCompile(`^truncated|` + stopped)},
	{shellExec, "while true; do :; done", regexp.MustCompile(stopped)},
	{shellExec, "a=x; while true; do a=$a$a; done", regexp.MustCompile(tooLarge)},
	{shellExec, "f() { f | f & }; f; while true; do echo x >> /tmp/f; done", regexp.MustCompile(`recursion that is too deep|` + tooLarge)},
}

// hostileWorld is a gateway whose model runs hostile programs when it is asked
// for one, and answers at once when it is not. Each program has a user of its own.
type hostileWorld struct {
	gateway *gatewaytest.Process
	openai  *upstream.Server
	client  *http.Client
}

func hostileToken(i int) string { return fmt.Sprintf("dapihostile%022d", i) }

var hostileMark = regexp.MustCompile(`#hostile (\d+)#`)

func newHostileWorld(t testing.TB) *hostileWorld {
	t.Helper()
	w := &hostileWorld{openai: upstream.OpenAI(t, "sk-hostile")}
	w.openai.Play(playHostile)
	native := httptest.NewServer(lanesProvider{anthropicReplies()})
	t.Cleanup(func() {
		native.CloseClientConnections()
		native.Close()
	})
	dir := t.TempDir()
	var users, tokens strings.Builder
	for i := range len(hostilePrograms) + 1 { // the last one does the other work
		fmt.Fprintf(&users, "{name: user-%d@example.com, groups: [coders]}, ", i)
		fmt.Fprintf(&tokens, "\n    - {principal: user-%d@example.com, token: {file: token-%d}, scopes: [all]}", i, i)
		writeHostile(t, dir, fmt.Sprint("token-", i), hostileToken(i))
	}
	cache, err := guesttest.Compiled()
	if err != nil {
		t.Fatal(err)
	}
	writeHostile(t, dir, "key", "sk-hostile")
	file := writeHostile(t, dir, "sallyport.yaml", `version: 1
listen: 127.0.0.1:0
metrics: 127.0.0.1:0
plugins: [`+gatewaytest.Plugins(t)+`]
shutdown: 5s
providers:
  openai: {translator: openai, base_url: `+w.openai.URL+`, key: {file: key}}
  anthropic: {translator: anthropic, base_url: `+native.URL+`, key: {file: key}}
models:
  `+gpt+`: {destinations: [{provider: openai, model: gpt-5.2, price: `+loadPrices["openai"]+`}]}
  `+claude+`: {destinations: [{provider: anthropic, model: claude-sonnet-4-5, price: `+loadPrices["anthropic"]+`}]}
access:
  users: [`+users.String()+`{name: root@example.com, admin: true}]
  tokens: `+tokens.String()+`
  grants: [{to: coders, privileges: [EXECUTE], on: schema system.ai}]
code_execution:
  guests: `+guesttest.Dir(t)+`
  cache: `+cache+`
  limits: {wall: 2s, cpu: 1s, memory: 100663296, output: 65536, scratch: 4194304}
`)
	w.gateway = gatewaytest.Serve(t, file)
	w.client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true}}
	t.Cleanup(w.client.CloseIdleConnections)
	return w
}

func writeHostile(t testing.TB, dir, name, text string) string {
	t.Helper()
	file := filepath.Join(dir, name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

const harmless = "All is well."

// playHostile is the model: first the hostile program, then a harmless one in
// the same session, then an answer.
func playHostile(r upstream.Request) upstream.Turn {
	m := hostileMark.FindSubmatch(r.Body)
	if m == nil {
		return upstream.Turn{Text: harmless, Batch: true}
	}
	i, err := strconv.Atoi(string(m[1]))
	if err != nil || i >= len(hostilePrograms) {
		return upstream.Turn{Status: http.StatusBadRequest}
	}
	switch bytes.Count(r.Body, []byte(`"function_call_output"`)) {
	case 0:
		h := hostilePrograms[i]
		return upstream.Turn{Calls: []upstream.Call{programCall(h.function, h.code)}}
	case 1:
		return upstream.Turn{Calls: []upstream.Call{programCall(shellExec, "echo $((6*7))")}}
	}
	return upstream.Turn{Text: harmless}
}

func programCall(function, code string) upstream.Call {
	argument := map[string]string{pythonExec: "code", sqlExec: "query", shellExec: "command"}[function]
	b, err := json.Marshal(map[string]string{argument: code})
	if err != nil {
		panic(err) // of strings
	}
	return upstream.Call{Name: function, Arguments: string(b)}
}

// programResult is what a model sees of its program.
type programResult struct {
	Truncated bool    `json:"is_truncated"`
	Rows      [][]any `json:"rows"`
	ExitCode  int     `json:"exit_code"`
	Note      string  `json:"note"`
	size      int     // bytes of all of it
}

// why is what tells the model how its program ended: whether all is there, the
// note, and the end of what it printed.
func (r programResult) why() string {
	text := ""
	if len(r.Rows) == 1 && len(r.Rows[0]) == 1 {
		text = fmt.Sprint(r.Rows[0][0])
	}
	truncated := ""
	if r.Truncated {
		truncated = "truncated. "
	}
	return strings.TrimSpace(truncated + r.Note + " " + text[max(0, len(text)-200):])
}

// errNotRun says that a program of the model had no turn in time, which it is
// told to try again.
var errNotRun = errors.New("not run")

// hostile has the model of user i run program i, until it has had its turn, and
// looks whether its session goes on afterwards.
func (w *hostileWorld) hostile(ctx context.Context, i int) (programResult, error) {
	for {
		if r, err := w.attempt(ctx, i); !errors.Is(err, errNotRun) {
			return r, err
		}
	}
}

// attempt is one request of hostile.
func (w *hostileWorld) attempt(ctx context.Context, i int) (programResult, error) {
	raw, err := w.do(ctx, http.MethodPost, w.gateway.URL()+"/ai-gateway/mlflow/v1/responses", hostileToken(i),
		map[string]any{"model": gpt, "input": fmt.Sprintf("#hostile %d#", i)})
	if err != nil {
		return programResult{}, err
	}
	var response struct {
		Status string
		Output []struct{ Type, Output string }
	}
	if err := json.Unmarshal(raw, &response); err != nil {
		return programResult{}, fmt.Errorf("%w in %.300s", err, raw)
	}
	var all []programResult
	for _, item := range response.Output {
		if item.Type != "function_call_output" {
			continue
		}
		if strings.HasPrefix(item.Output, "Error: ") && strings.Contains(item.Output, "Try again") {
			return programResult{}, errNotRun
		}
		r := programResult{size: len(item.Output)}
		if err := json.Unmarshal([]byte(item.Output), &r); err != nil {
			return programResult{}, fmt.Errorf("a result is no JSON: %w in %.300s", err, item.Output)
		}
		all = append(all, r)
	}
	if response.Status != "completed" || len(all) != 2 {
		return programResult{}, fmt.Errorf("%d results: %.1000s", len(all), raw)
	}
	if after := all[1]; after.ExitCode != 0 || fmt.Sprint(after.Rows) != "[[42\n]]" {
		return all[0], fmt.Errorf("after %q the next program gave %+v", all[0].why(), after)
	}
	return all[0], nil
}

// kind is a kind of request that runs no program.
type kind string

const (
	native     kind = "native"     // in the provider's own dialect
	supervised kind = "supervisor" // through the loop, which offers programs
)

var kinds = []kind{native, supervised}

// other makes a request of a kind and looks at the answer.
func (w *hostileWorld) other(ctx context.Context, k kind) error {
	url, want := w.gateway.URL()+"/ai-gateway/mlflow/v1/responses", harmless
	body := map[string]any{"model": gpt, "input": "How are you?"}
	if k == native {
		url, want = w.gateway.URL()+"/anthropic/v1/messages", workloads[0].letters()
		body = map[string]any{"model": claude, "max_tokens": 1000, "messages": []any{map[string]string{"role": "user", "content": "#" + workloads[0].name + "# How are you?"}}}
	}
	raw, err := w.do(ctx, http.MethodPost, url, hostileToken(len(hostilePrograms)), body)
	if err == nil && !bytes.Contains(raw, []byte(`"text":"`+want+`"`)) {
		err = fmt.Errorf("%s: got %.1000s", k, raw)
	}
	return err
}

// do makes one request and returns the reply of one that was served.
func (w *hostileWorld) do(ctx context.Context, method, url, token string, body any) ([]byte, error) {
	var text io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		text = strings.NewReader(string(b))
	}
	req, err := http.NewRequestWithContext(ctx, method, url, text)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	if strings.HasSuffix(url, "/v1/messages") {
		req.Header.Set("Anthropic-Version", "2023-06-01")
	}
	resp, err := w.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: got %d %.1000s", url, resp.StatusCode, raw)
	}
	return raw, err
}

var workerLine = regexp.MustCompile(`worker ready" pid=(\d+)`)

// workers are the numbers of all processes that have run programs.
func (w *hostileWorld) workers(t testing.TB) []int {
	t.Helper()
	var pids []int
	for _, m := range workerLine.FindAllStringSubmatch(w.gateway.Log(), -1) {
		pid, err := strconv.Atoi(m[1])
		if err != nil {
			t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	return pids
}

// isWorker reports whether the process is still one that runs programs: numbers
// are used again.
func isWorker(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return err == nil && strings.Contains(string(b), "\x00sandbox-worker")
}

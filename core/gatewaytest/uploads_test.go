//go:build e2e && linux

package gatewaytest_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sallyport-gateway/sallyport/core/gatewaytest"
)

const (
	uploads  = 200
	bodySize = 30 << 20
	maxRSS   = 800 << 20
)

// 200 uploads of 30 MiB at once, fast, slow and stalled, each end with 200,
// 408, 413 or 429, and the gateway's process stays under 800 MiB.
func TestUploadsAtOnce(t *testing.T) {
	provider := httptest.NewServer(http.HandlerFunc(swallow))
	t.Cleanup(provider.Close)
	url, token, pid := serve(t, provider.URL)

	var mu sync.Mutex
	got := map[string]int{}
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range uploads {
		wg.Go(func() {
			<-start
			model := []string{"databricks-demo", "databricks-gpt-5-2"}[i%2]
			status, reply := upload(t.Context(), url, token, model, i%5)
			mu.Lock()
			defer mu.Unlock()
			got[fmt.Sprintf("%s: %d", []string{"fast", "fast", "chunked", "slow", "stalled"}[i%5], status)]++
			switch status {
			case 200, 408, 413, 429:
			default:
				t.Errorf("upload %d: got %d %s", i, status, reply)
			}
		})
	}
	close(start)
	wg.Wait()
	t.Logf("answers: %v", got)
	peak := highWater(t, pid)
	t.Logf("peak RSS of the gateway: %d MiB", peak>>20)
	if peak > maxRSS {
		t.Errorf("peak RSS is %d MiB, want %d at most", peak>>20, maxRSS>>20)
	}
	for _, child := range children(t, pid) {
		name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", child))
		t.Logf("peak RSS of %s: %d MiB", strings.TrimSpace(string(name)), highWater(t, child)>>20)
	}
	for _, model := range []string{"databricks-demo", "databricks-gpt-5-2"} { // and it goes on
		if status, reply := upload(t.Context(), url, token, model, 0); status != 200 {
			t.Errorf("%s, one upload alone: got %d %s", model, status, reply)
		}
	}
}

// swallow plays a provider that reads everything and keeps nothing.
func swallow(w http.ResponseWriter, r *http.Request) {
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		return
	}
	w.Header().Set("Content-Type", "application/json")
	io.WriteString(w, `{"id":"resp_1","object":"response","created_at":1,"status":"completed","model":"gpt-5.2","error":null,"incomplete_details":null,`+
		`"output":[{"type":"message","id":"msg_1","status":"completed","role":"assistant","content":[{"type":"output_text","text":"Read.","annotations":[]}]}],`+
		`"usage":{"input_tokens":5,"input_tokens_details":{"cached_tokens":0},"output_tokens":2,"output_tokens_details":{"reasoning_tokens":0},"total_tokens":7}}`)
}

// serve runs the real binary until the test ends.
func serve(t *testing.T, provider string) (url, token string, pid int) {
	t.Helper()
	gatewaytest.Plugins(t) // builds
	root, dir := gatewaytest.Root(t), t.TempDir()
	token = "dapiuploads00000000000000000000001"
	for name, text := range map[string]string{
		"token": token, "key": "sk-uploads-key",
		"sallyport.yaml": "version: 1\nlisten: 127.0.0.1:0\ndata: ./data\nplugins: [" + filepath.Join(root, "bin", "plugins") + "]\n" +
			"providers: {demo: {translator: demo}, openai: {translator: openai, base_url: " + provider + ", key: {file: key}}}\n" +
			"models:\n  databricks-demo: {destinations: [{provider: demo, model: demo}]}\n  databricks-gpt-5-2: {destinations: [{provider: openai, model: gpt-5.2}]}\n" +
			"access:\n  users: [{name: root@example.com, admin: true}]\n  tokens: [{principal: root@example.com, token: {file: token}, scopes: [all]}]\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(filepath.Join(root, "bin", "sallyport"), "serve", "--config", filepath.Join(dir, "sallyport.yaml"))
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	found, logged := make(chan string, 1), make(chan struct{})
	go func() {
		defer close(logged)
		serving := regexp.MustCompile(`msg=serving url=(\S+)`)
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			if m := serving.FindStringSubmatch(lines.Text()); m != nil {
				found <- m[1]
			}
		}
	}()
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		<-logged
		if err := cmd.Wait(); err != nil {
			t.Errorf("the gateway ended: %v", err)
		}
	})
	select {
	case url = <-found:
	case <-logged:
		t.Fatal("the gateway did not start")
	}
	return url, token, cmd.Process.Pid
}

type reply struct {
	status int
	body   string
}

// upload sends a body of 30 MiB in one of five manners.
func upload(ctx context.Context, url, token, model string, manner int) (int, string) {
	body := &document{model: model, left: bodySize}
	length := int64(bodySize)
	switch manner {
	case 2: // its length is not told
		length = -1
	case 3: // 3 MiB a second
		body.pause, body.most = 20*time.Millisecond, 64<<10
	case 4: // some bytes, then nothing
		body.stall = 1 + rand.IntN(1<<20)
		body.gone = ctx.Done()
	}
	r := post(ctx, url, token, body, length)
	return r.status, r.body
}

// post sends over a connection of its own. The reply counts also when it comes
// before the body is written.
func post(ctx context.Context, url, token string, body io.Reader, length int64) reply {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "POST", url+"/ai-gateway/mlflow/v1/responses", body)
	if err != nil {
		return reply{body: err.Error()}
	}
	if length != 0 {
		req.ContentLength = length
	}
	if d, ok := body.(*document); ok {
		ctx, stop := context.WithCancel(ctx)
		defer stop()
		d.gone = ctx.Done()
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json")
	tr := &http.Transport{DisableKeepAlives: true, DialContext: (&net.Dialer{}).DialContext}
	defer tr.CloseIdleConnections()
	resp, err := tr.RoundTrip(req)
	if err != nil {
		return reply{body: err.Error()}
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
	if err != nil {
		return reply{body: err.Error()}
	}
	return reply{resp.StatusCode, string(b)}
}

var filler = strings.Repeat("x", 64<<10)

// document is a request whose input is four long messages, made as it is read.
type document struct {
	model string
	left  int // bytes still to give
	head  string
	began bool
	part  int

	pause time.Duration // before each Read
	most  int           // bytes a Read
	stall int           // after so many bytes nothing more comes; 0 is never
	gone  <-chan struct{}
}

func (d *document) Read(p []byte) (int, error) {
	const parts = 4
	end := `"}]}`
	if !d.began {
		d.began, d.head = true, `{"model":"`+d.model+`","input":[{"role":"user","content":"`
	}
	if d.stall > 0 && bodySize-d.left >= d.stall {
		<-d.gone
		return 0, io.ErrUnexpectedEOF
	}
	time.Sleep(d.pause)
	if d.most > 0 && len(p) > d.most {
		p = p[:d.most]
	}
	if d.left == 0 {
		return 0, io.EOF
	}
	n := 0
	for n < len(p) && d.left > 0 {
		switch {
		case len(d.head) > 0:
			k := copy(p[n:], d.head)
			d.head = d.head[k:]
			n, d.left = n+k, d.left-k
		case d.left == len(end):
			d.head = end
		case d.part < parts-1 && d.left < bodySize-(d.part+1)*(bodySize/parts):
			d.part++
			d.head = `"},{"role":"user","content":"`
		default: // up to the next quarter, or the end
			k := min(len(p)-n, len(filler), d.left-len(end))
			if d.part < parts-1 {
				k = min(k, d.left-bodySize+(d.part+1)*(bodySize/parts)+1)
			}
			k = copy(p[n:n+k], filler)
			n, d.left = n+k, d.left-k
		}
	}
	return n, nil
}

// highWater is the most memory a process ever had resident, in bytes.
func highWater(t *testing.T, pid int) int64 {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindSubmatch(b)
	if m == nil {
		t.Fatalf("no VmHWM in %s", b)
	}
	kib, err := strconv.ParseInt(string(m[1]), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return kib << 10
}

// children are the processes whose parent is pid.
func children(t *testing.T, pid int) []int {
	t.Helper()
	var out []int
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range tasks {
		b, err := os.ReadFile(task)
		if err != nil {
			continue
		}
		for _, f := range strings.Fields(string(b)) {
			if n, err := strconv.Atoi(f); err == nil {
				out = append(out, n)
			}
		}
	}
	return out
}

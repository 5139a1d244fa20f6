//go:build e2e

package clients

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sallyport-gateway/sallyport/core/gatewaytest"
	"github.com/sallyport-gateway/sallyport/core/gatewaytest/upstream"
)

// mostSilence is the longest that a client may have to wait for a byte: the
// gateway's 15 seconds, and a little. What a busy machine adds comes on top of
// it, as the lateness measures.
const mostSilence = 16 * time.Second

// lateness is how late a timer of this process, and so of the gateway in it,
// has been at the most: a few in a row may have been on the way of a byte.
type lateness struct {
	mu   sync.Mutex
	most time.Duration
}

func newLateness(t *testing.T) *lateness {
	const beat = 50 * time.Millisecond
	l := &lateness{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for t.Context().Err() == nil {
			due := time.Now().Add(beat)
			time.Sleep(beat)
			l.mu.Lock()
			l.most = max(l.most, time.Since(due))
			l.mu.Unlock()
		}
	}()
	t.Cleanup(func() { <-done })
	return l
}

func (l *lateness) allowed() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return mostSilence + 10*l.most
}

// wire is a proxy of connections before a gateway that measures how long the client has
// to wait for a byte while it waits for an answer.
type wire struct {
	url string
	mu  sync.Mutex
	gap time.Duration
}

func newWire(t *testing.T, network, address string) *wire {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{url: "http://" + l.Addr().String()}
	var all sync.WaitGroup
	t.Cleanup(func() { l.Close(); all.Wait() })
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { w.carry(t.Context(), c, network, address) })
		}
	})
	return w
}

// carry copies both ways until one side ends.
func (w *wire) carry(ctx context.Context, c net.Conn, network, address string) {
	g, err := net.Dial(network, address)
	if err != nil {
		c.Close()
		return
	}
	stop := context.AfterFunc(ctx, func() { c.Close(); g.Close() })
	defer stop()
	var last struct {
		sync.Mutex
		asked, heard time.Time
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		pump(g, c, func() {
			last.Lock()
			last.asked = time.Now()
			last.Unlock()
		})
		g.Close()
	}()
	pump(c, g, func() {
		last.Lock()
		now, since := time.Now(), last.heard
		if last.asked.After(since) {
			since = last.asked
		}
		last.heard = now
		last.Unlock()
		w.mu.Lock()
		w.gap = max(w.gap, now.Sub(since))
		w.mu.Unlock()
	})
	c.Close()
	<-done
}

// pump copies from one to the other, and says when something comes.
func pump(to, from net.Conn, came func()) {
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			came()
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

const nginxConfig = `%[5]s daemon off; pid %[1]s/pid; error_log %[1]s/error.log; worker_processes 1;
events {}
http {
  access_log off;
  client_body_temp_path %[1]s/body; proxy_temp_path %[1]s/proxy; fastcgi_temp_path %[1]s/f; uwsgi_temp_path %[1]s/u; scgi_temp_path %[1]s/s;
  client_max_body_size 32m; underscores_in_headers on;
  server {
    listen unix:%[2]s;
    location / { proxy_pass %[3]s; proxy_http_version 1.1; proxy_buffering off; proxy_read_timeout %[4]ds; proxy_set_header Host $host; }
  }
}
`

// nginx runs the proxy of that name before target, with a read timeout, and
// returns the socket that it listens at. As root it is installed from Debian if need be.
func nginx(t *testing.T, target string, timeout time.Duration) string {
	t.Helper()
	if _, err := exec.LookPath("nginx"); err != nil {
		if os.Getuid() != 0 {
			t.Fatal("nginx is not installed: sudo apt-get install nginx-light")
		}
		run(t, []string{"DEBIAN_FRONTEND=noninteractive"}, "sh", "-c", "apt-get update -qq && apt-get install -y -qq --no-install-recommends nginx-light")
	}
	dir, user := t.TempDir(), ""
	socket := filepath.Join(dir, "socket") // a port might be somebody else's by then
	if os.Getuid() == 0 {
		user = "user root;" // of its workers, which write into dir
	}
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, fmt.Appendf(nil, nginxConfig, dir, socket, target, int(timeout.Seconds()), user), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("nginx", "-c", file, "-e", filepath.Join(dir, "error.log"))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(os.Interrupt)
		cmd.Wait()
		if b, _ := os.ReadFile(filepath.Join(dir, "error.log")); t.Failed() && len(b) > 0 {
			t.Logf("nginx: %s", b)
		}
	})
	gatewaytest.Eventually(t, time.Minute, "nginx listens", func() bool {
		c, err := net.Dial("unix", socket)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	return socket
}

// A provider that is silent before its first byte, and again in the middle,
// loses no agent: each gets a byte at least every 15 seconds, also behind
// nginx with a timeout that is shorter than the silence. SALLYPORT_SILENCE=90s
// makes it as long as the promise says.
func TestAgentSilence(t *testing.T) {
	t.Parallel()
	silence, timeout := 33*time.Second, 25*time.Second
	if s := os.Getenv("SALLYPORT_SILENCE"); s != "" {
		var err error
		if silence, err = time.ParseDuration(s); err != nil {
			t.Fatal(err)
		}
		timeout = 60 * time.Second
	}
	w := newWorld(t, "300s")
	slow := func(int, upstream.Request) upstream.Turn {
		before, middle := upstream.NewGate(), upstream.NewGate()
		time.AfterFunc(silence, before.Open)
		go func() {
			select {
			case <-middle.Reached():
				time.AfterFunc(silence, middle.Open)
			case <-t.Context().Done():
			}
		}()
		return upstream.Turn{Text: "Slow and steady wins the race.", Before: before, Middle: middle}
	}
	w.anthropic.play, w.openai.play = slow, slow
	behind, late := nginx(t, w.URL, timeout), newLateness(t)
	t.Run("all", func(t *testing.T) {
		for _, tt := range []struct {
			cli   cli
			model string
		}{{claudeOld, onOpenAI}, {claudeNew, onOpenAI}, {codexOld, onAnthropic}, {codexNew, onAnthropic}, {geminiCLI, onAnthropic}, {opencode, onOpenAI}} {
			for name, at := range map[string][2]string{"direct": {"tcp", strings.TrimPrefix(w.URL, "http://")}, "nginx": {"unix", behind}} {
				t.Run(tt.cli.String()+", "+name, func(t *testing.T) {
					t.Parallel()
					line := newWire(t, at[0], at[1])
					d := newDesk(t, tt.cli)
					d.idle = true
					d.setup(line.url, w.token, tt.model)
					began := time.Now()
					d.wantIn("hi", "Slow and steady wins the race.")
					if took := time.Since(began); took < 2*silence {
						t.Errorf("the answer came after %v: the provider was silent for twice %v", took, silence)
					}
					line.mu.Lock()
					defer line.mu.Unlock()
					if most := late.allowed(); line.gap > most {
						t.Errorf("the agent has waited %v for a byte, more than %v", line.gap, most)
					}
					t.Logf("longest wait for a byte: %v", line.gap)
				})
			}
		}
	})
	for _, r := range rows(t, w.Gateway, "coding_tool, status", "status <> 'completed'") {
		t.Errorf("a call of %s ended as %s", r[0], r[1])
	}
}

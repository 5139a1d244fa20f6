//go:build linux

package gatewaytest_test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/sallyport-gateway/sallyport/core/gatewaytest"
	"github.com/sallyport-gateway/sallyport/core/gatewaytest/upstream"
)

const streamsToken = "dapistreams00000000000000000000001"

// As many clients as a busy gateway has hold a stream each, all of them at once:
// the provider goes on with none before it has begun with all. Each stream has
// two connections to plugins, and all come to their end.
func TestManyTranslatedStreams(t *testing.T) {
	t.Parallel()
	const streams = 600
	up := upstream.OpenAI(t, "key-of-streams")
	gate := upstream.NewGate()
	begun := 0
	up.Play(func(upstream.Request) upstream.Turn {
		if begun++; begun == streams {
			gate.Open()
		}
		return upstream.Turn{Text: fmt.Sprintf("the reply number %d ends here", begun), Middle: gate}
	})
	dir := t.TempDir()
	for name, text := range map[string]string{
		"token": streamsToken, "key": "key-of-streams",
		"sallyport.yaml": `version: 1
listen: 127.0.0.1:0
plugins: [` + gatewaytest.Plugins(t) + `]
providers:
  openai: {translator: openai, base_url: ` + up.URL + `, key: {file: key}}
models: {translated: {destinations: [{provider: openai, model: gpt-5.2}]}}
access:
  users: [{name: alice@example.com}]
  tokens: [{principal: alice@example.com, token: {file: token}, scopes: [all]}]
  grants: [{to: alice@example.com, privileges: [EXECUTE], on: schema system.ai}]
`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// A process of its own: the race detector counts the goroutines of this one.
	g := gatewaytest.Serve(t, filepath.Join(dir, "sallyport.yaml"))
	c := &http.Client{Transport: new(http.Transport)}
	t.Cleanup(c.CloseIdleConnections)
	var mu sync.Mutex
	replies := map[string]bool{}
	var all sync.WaitGroup
	for range streams {
		all.Go(func() {
			reply, err := stream(t, c, g.URL()+"/anthropic/v1/messages")
			if err != nil {
				t.Error(err)
				gate.Open() // who waits for this one waits for nothing
				return
			}
			mu.Lock()
			defer mu.Unlock()
			replies[reply] = true
		})
	}
	all.Wait()
	if len(replies) != streams {
		t.Errorf("%d different replies, want %d", len(replies), streams)
	}
	if log := g.Log(); strings.Contains(log, "plugin ended") || strings.Contains(log, "level=ERROR") {
		t.Error("the gateway's log tells of failures")
	}
}

// stream asks for a stream in Anthropic's dialect, and gives its text.
func stream(t *testing.T, c *http.Client, url string) (text string, err error) {
	req, err := http.NewRequestWithContext(t.Context(), "POST", url,
		strings.NewReader(`{"model":"translated","max_tokens":100,"stream":true,"messages":[{"role":"user","content":"hello"}]}`))
	if err != nil {
		return "", err
	}
	req.Header = http.Header{"Content-Type": {"application/json"}, "Authorization": {"Bearer " + streamsToken}, "Anthropic-Version": {"2023-06-01"}}
	resp, err := c.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(b)) {
		if _, rest, ok := strings.Cut(line, `"text_delta","text":"`); ok {
			piece, _, _ := strings.Cut(rest, `"`)
			text += piece
		}
	}
	if resp.StatusCode != http.StatusOK || !strings.Contains(string(b), "event: message_stop") || !strings.HasPrefix(text, "the reply number") || !strings.HasSuffix(text, "ends here") {
		return "", fmt.Errorf("got %d %.600s", resp.StatusCode, b)
	}
	return text, nil
}

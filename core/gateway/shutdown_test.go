package gateway_test

import (
	"bufio"
	"context"
	"log/slog"
	"net/http"
	"testing"

	"github.com/sallyport-gateway/sallyport/core/config"
	"github.com/sallyport-gateway/sallyport/core/gateway"
	"github.com/sallyport-gateway/sallyport/core/gatewaytest"
	"github.com/sallyport-gateway/sallyport/core/gatewaytest/upstream"
)

// A gateway that is told to stop takes no more requests and finishes the
// streams that run, tool calls and all.
func TestShutdownFinishesStreams(t *testing.T) {
	t.Parallel()
	up := upstream.OpenAI(t, "key-for-shutdown")
	text, dir := openaiOnly(t, up, "key-for-shutdown")
	cfg, err := config.Parse([]byte(text), dir)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Listen.Address, cfg.Plugins = "127.0.0.1:0", []string{gatewaytest.Plugins(t)}
	cfg.Launcher = gatewaytest.Launcher(t)
	g, err := gateway.New(t.Context(), cfg, "test", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	l, err := gateway.Listen(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- g.Serve(ctx, l) }()
	token, _, err := gateway.Direct(g.Access()).CreateToken(t.Context(), gateway.TokenRequest{Principal: "alice@example.com"})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{Gateway: &gatewaytest.Gateway{Gateway: g, URL: "http://" + l.Addr().String()}, openai: up, token: token}

	gate := upstream.NewGate()
	up.Script(upstream.Turn{Text: "Let me look.", Calls: []upstream.Call{sql("SELECT count(*) AS n FROM main.sales.reviews")}, Middle: gate}, upstream.Turn{Text: answered})
	resp := w.open(t, object{"model": gpt, "input": "hi", "stream": true, "tools": tools()})
	r := bufio.NewReader(resp.Body)
	head := readUntil(t, r, "response.in_progress")
	<-gate.Reached()
	stop()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	gatewaytest.Eventually(t, waitLong, "the gateway to take no more connections", func() bool {
		resp, err := client.Get("http://" + l.Addr().String() + "/health")
		if err == nil {
			resp.Body.Close()
		}
		return err != nil
	})
	select {
	case err := <-ended:
		t.Fatalf("Serve returned with a stream under way: %v", err)
	default:
	}
	gate.Open()
	a := read(t, resp.StatusCode, []byte(head+tail(t, r)), true)
	if a.response["status"] != "completed" || a.text() != "Let me look."+answered || len(a.results()) != 1 {
		t.Errorf("got %s", a.raw)
	}
	if err := <-ended; err != nil {
		t.Errorf("Serve: %v", err)
	}
	if err := g.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	for _, p := range g.Plugins() {
		if p.PID != 0 {
			t.Errorf("plugin %s still runs after Close: %+v", p.Name, p)
		}
	}
}

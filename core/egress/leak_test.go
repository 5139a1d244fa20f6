package egress

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"
)

// Requests leave nothing behind, however they end: neither a goroutine nor a
// connection.
func TestNothingStays(t *testing.T) {
	begun := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/leave":
			close(begun)
			<-r.Context().Done()
		case "/hang":
			<-r.Context().Done()
		case "/stall":
			io.WriteString(w, "x")
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		case "/cut":
			io.WriteString(w, "x")
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		case "/refuse":
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		io.WriteString(w, "ok")
	}))
	a := account(t, Config{}, AccountConfig{BaseURL: s.URL, Timeouts: Timeouts{FirstByte: 200 * time.Millisecond, Idle: 200 * time.Millisecond}})
	patient := account(t, Config{}, AccountConfig{BaseURL: s.URL})
	for _, path := range []string{"good", "hang", "stall", "cut", "refuse", "unread"} {
		res, err := a.Do(t.Context(), Request{Path: path})
		if err != nil {
			continue
		}
		if path != "unread" {
			io.Copy(io.Discard, res.Body)
		}
		res.Body.Close()
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-begun; cancel() }()
	if _, err := patient.Do(ctx, Request{Path: "leave"}); KindOf(err) != Canceled {
		t.Errorf("Do = %v, want cancelled", err)
	}
	a.Close()
	patient.Close()
	s.Close()
	stays := ""
	for range 500 { // goroutines of the transport end a moment after their connection
		if stays = leftBehind(); stays == "" {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("goroutines stay:\n%s", stays)
}

func leftBehind() string {
	buf := make([]byte, 1<<20)
	var out []string
	for _, g := range strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n")[1:] {
		if strings.Contains(g, "net/http.(*persistConn)") || strings.Contains(g, "net/http.(*http2") || strings.Contains(g, "core/egress.(*") {
			out = append(out, g)
		}
	}
	return strings.Join(out, "\n\n")
}

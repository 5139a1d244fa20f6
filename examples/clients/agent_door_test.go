//go:build e2e

package clients

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
)

// door is a proxy before a gateway that keeps what an agent asked.
type door struct {
	url  string
	mu   sync.Mutex
	all  []*call
	text string // what an answer to a turn has when come is to be called
	come func()
}

// call is a request of an agent for a model, and how it was answered.
type call struct {
	path   string
	tools  bool // a turn, not a title or a check
	stream bool // as the request wants it
	status int  // 0 when no head came
	kind   string
}

func newDoor(t *testing.T, target string) *door {
	t.Helper()
	to, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	d := &door{}
	proxy := &httputil.ReverseProxy{
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(to) },
		FlushInterval: -1,
		ErrorLog:      log.New(io.Discard, "", 0), // agents leave as they like
		ModifyResponse: func(resp *http.Response) error {
			if c, ok := resp.Request.Context().Value(d).(*call); ok {
				d.mu.Lock()
				c.status, c.kind = resp.StatusCode, resp.Header.Get("Content-Type")
				d.mu.Unlock()
				if c.tools {
					resp.Body = &watched{ReadCloser: resp.Body, door: d}
				}
			}
			return nil
		},
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				return // the agent left
			}
			r.Body = io.NopCloser(bytes.NewReader(body))
			r = r.WithContext(context.WithValue(r.Context(), d, d.note(r.URL.Path, body)))
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	d.url = s.URL
	return d
}

// note keeps a request.
func (d *door) note(path string, body []byte) *call {
	var b struct{ Stream bool }
	json.Unmarshal(body, &b) // what is none is no stream
	c := &call{path: path, tools: hasTools(body), stream: b.Stream || strings.Contains(path, ":stream")}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.all = append(d.all, c)
	return c
}

// when calls come once a part of an answer to a turn has reached the agent
// that has the text.
func (d *door) when(text string, come func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.text, d.come = text, come
}

// watched is the body of an answer.
type watched struct {
	io.ReadCloser
	door *door
	sent []byte // until the text has come
}

// Read is called again when what it gave was passed on.
func (w *watched) Read(p []byte) (int, error) {
	w.door.mu.Lock()
	if w.door.come != nil && bytes.Contains(w.sent, []byte(w.door.text)) {
		w.door.come()
		w.door.come = nil
	}
	w.door.mu.Unlock()
	n, err := w.ReadCloser.Read(p)
	w.sent = append(w.sent, p[:n]...)
	return n, err
}

// calls are the agent's requests so far: its turns, or all.
func (d *door) calls(turns bool) []call {
	d.mu.Lock()
	defer d.mu.Unlock()
	var all []call
	for _, c := range d.all {
		if c.tools || !turns {
			all = append(all, *c)
		}
	}
	return all
}

// whole tells whether a request that wanted no stream got a document.
func (d *door) whole() bool {
	return slices.ContainsFunc(d.calls(false), func(c call) bool {
		return !c.stream && c.status == http.StatusOK && strings.HasPrefix(c.kind, "application/json")
	})
}

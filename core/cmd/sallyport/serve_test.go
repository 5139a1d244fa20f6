//go:build unix

package main

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-gateway/sallyport/core/gateway"
)

// The administrator's token is told with its end, and one that does not work
// any more is replaced at the next start.
func TestFirstToken(t *testing.T) {
	t.Parallel()
	cfg, err := load(configFile(t, ""))
	if err != nil {
		t.Fatal(err)
	}
	g, err := gateway.New(t.Context(), cfg, version, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	start := func() (string, time.Time, bool) {
		t.Helper()
		token, until, fresh, err := firstToken(t.Context(), cfg, g)
		if err != nil {
			t.Fatal(err)
		}
		return token, until, fresh
	}
	first, until, fresh := start()
	if !fresh || until.Before(time.Now()) {
		t.Errorf("the first start gives a token until %v, fresh %v", until, fresh)
	}
	if again, same, fresh := start(); again != first || !same.Equal(until) || fresh {
		t.Errorf("the second start gives another token, or one until %v instead of %v, fresh %v", same, until, fresh)
	}
	p, err := g.Access().Authenticate(t.Context(), first)
	if err == nil {
		err = g.Access().RevokeToken(t.Context(), p.TokenID)
	}
	if err != nil {
		t.Fatal(err)
	}
	if other, _, fresh := start(); other == first || !fresh {
		t.Errorf("a start with a token that does not work keeps it, fresh %v", fresh)
	}

	var out bytes.Buffer
	greet(&out, cfg, "http://127.0.0.1:1", "dapi1", until)
	if !strings.Contains(out.String(), "token  dapi1\n         until "+day(until)+" UTC; ") || !strings.Contains(out.String(), `"input": "Hello!"`) {
		t.Errorf("the welcome is\n%s", &out)
	}
}

package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/sallyport-gateway/sallyport/core/access"
	"github.com/sallyport-gateway/sallyport/core/catalog"
	"github.com/sallyport-gateway/sallyport/core/store/storetest"
	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/engine"
)

// endless is an engine whose queries run until their ctx ends.
type endless struct{ began, ended chan struct{} }

func (endless) Inspect(context.Context, string) (engine.Statement, error) {
	return engine.Statement{Kind: "select"}, nil
}

func (e endless) Query(ctx context.Context, _ engine.Query) iter.Seq2[engine.Batch, error] {
	return func(yield func(engine.Batch, error) bool) {
		e.began <- struct{}{}
		<-ctx.Done()
		e.ended <- struct{}{}
		yield(engine.Batch{}, apierror.Wrap(apierror.Canceled, ctx.Err(), "Canceled."))
	}
}

// sqlServer serves statements, which e runs, with the token of a user.
func sqlServer(t *testing.T, e engine.Engine) (url, token string) {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	db := storetest.Open(t)
	acc, err := access.New(access.Config{Users: []access.User{{Name: "alice"}}}, db, log)
	if err != nil {
		t.Fatal(err)
	}
	cat, err := catalog.New(catalog.Config{}, "", catalog.Own{}, acc, e, log)
	if err != nil {
		t.Fatal(err)
	}
	token, _, err = acc.CreateToken(t.Context(), access.NewToken{Principal: "alice"})
	if err != nil {
		t.Fatal(err)
	}
	a := New(fixed(&State{Access: acc, Catalog: cat}), Limits{}, "test", log)
	srv := httptest.NewServer(a)
	t.Cleanup(func() {
		srv.Close()
		if err := errors.Join(cat.Close(), acc.Close()); err != nil {
			t.Error(err)
		}
	})
	return srv.URL, token
}

func postSQL(ctx context.Context, url, token string) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, "POST", url+"/api/2.0/sql/statements", strings.NewReader(`{"statement":"SELECT 1"}`))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Authorization", "Bearer "+token)
	return http.DefaultClient.Do(r)
}

// Who sends more than may wait is told when to come back, as for every limit
// of the gateway, and not by a statement that failed: the vendor's clients try
// again after the one and give up after the other. What a client has left ends.
func TestStatementsBeyondTheQueue(t *testing.T) {
	t.Parallel()
	many := runtime.NumCPU() + 100 // more than run and wait
	e := endless{make(chan struct{}, many), make(chan struct{}, many)}
	url, token := sqlServer(t, e)
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	refused := make(chan *http.Response, many)
	var wg sync.WaitGroup
	for range many {
		wg.Go(func() {
			if r, err := postSQL(ctx, url, token); err == nil {
				refused <- r
			}
		})
	}
	r := <-refused
	defer r.Body.Close()
	var body errorBody
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		t.Fatal(err)
	}
	if r.StatusCode != 429 || body.ErrorCode != "REQUEST_LIMIT_EXCEEDED" || r.Header.Get("Retry-After") == "" || !strings.HasPrefix(body.Message, "You have ") {
		t.Errorf("got %d, Retry-After %q, %+v", r.StatusCode, r.Header.Get("Retry-After"), body)
	}
	leave()
	wg.Wait()
	close(refused)
	for r := range refused {
		r.Body.Close()
	}
	for range len(e.began) {
		<-e.ended
	}
}

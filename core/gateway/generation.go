package gateway

import (
	"context"
	"slices"
	"sync/atomic"

	"github.com/sallyport-gateway/sallyport/core/catalog"
	"github.com/sallyport-gateway/sallyport/core/config"
	"github.com/sallyport-gateway/sallyport/core/httpapi"
	"github.com/sallyport-gateway/sallyport/sdk/apierror"
)

// generation is everything that was built from one configuration. Requests keep
// the one they began with; its parts are closed when it has been replaced and
// nobody uses it any more.
type generation struct {
	cfg          *config.Config
	state        *httpapi.State
	catalog      *catalog.Catalog
	toolWarnings []string // of the configuration's tools
	closers      []func() // in the order in which the parts were made

	users atomic.Int64 // the gateway itself is one, until it retires the generation
}

func newGeneration(cfg *config.Config) *generation {
	gen := &generation{cfg: cfg}
	gen.users.Store(1)
	return gen
}

// enter adds a user, unless there is none any more.
func (gen *generation) enter() bool {
	for {
		n := gen.users.Load()
		if n == 0 {
			return false
		}
		if gen.users.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// leave takes a user away. The last one closes the parts.
func (gen *generation) leave() {
	if gen.users.Add(-1) == 0 {
		for _, c := range slices.Backward(gen.closers) {
			c()
		}
	}
}

// install makes gen the current generation.
func (g *Gateway) install(gen *generation) {
	g.generations.Add(1)
	gen.closers = append([]func(){g.generations.Done}, gen.closers...)
	g.current.Store(gen)
}

// errClosed is what a gateway answers that has been closed.
var errClosed = apierror.New(apierror.Unavailable, "This gateway has been told to end and serves nothing more. Ask again when it has been started.")

// use gives the current generation, which the caller leaves, or nothing when
// the gateway is closed.
func (g *Gateway) use() (*generation, error) {
	for {
		gen := g.current.Load()
		if gen == nil {
			return nil, errClosed
		}
		if gen.enter() {
			return gen, nil
		}
	}
}

// lease is use for the HTTP surface, which answers for a nil State itself.
func (g *Gateway) lease() (*httpapi.State, func()) {
	gen, err := g.use()
	if err != nil {
		return nil, func() {}
	}
	return gen.state, gen.leave
}

// warnings has a sentence for each grant without object, each tool whose
// configuration is not complete, and each table that cannot be read now.
func (g *Gateway) warnings(ctx context.Context) []string {
	gen, err := g.use()
	if err != nil {
		return nil // nothing is served, so nothing is wrong with it
	}
	defer gen.leave()
	return slices.Concat(gen.cfg.Doubts(), g.access.Unmatched(), gen.toolWarnings, gen.catalog.Problems(ctx))
}

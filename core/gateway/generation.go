package gateway

import (
	"context"
	"slices"
	"sync/atomic"

	"github.com/sallyport-gateway/sallyport/core/catalog"
	"github.com/sallyport-gateway/sallyport/core/config"
	"github.com/sallyport-gateway/sallyport/core/httpapi"
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

// use gives the current generation. The caller leaves it.
func (g *Gateway) use() *generation {
	for {
		if gen := g.current.Load(); gen.enter() {
			return gen
		}
	}
}

// lease is use for the HTTP surface.
func (g *Gateway) lease() (*httpapi.State, func()) {
	gen := g.use()
	return gen.state, gen.leave
}

// warnings has a sentence for each grant without object, each tool whose
// configuration is not complete, and each table that cannot be read now.
func (g *Gateway) warnings(ctx context.Context) []string {
	gen := g.use()
	defer gen.leave()
	return slices.Concat(gen.cfg.Doubts(), g.access.Unmatched(), gen.toolWarnings, gen.catalog.Problems(ctx))
}

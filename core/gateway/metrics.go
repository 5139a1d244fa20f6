package gateway

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/sallyport-gateway/sallyport/core/metrics"
)

// serveMetrics answers on the second listener until ctx ends, when ended is
// closed. Without `metrics:` in the configuration there is none.
func (g *Gateway) serveMetrics(ctx context.Context) (ended <-chan struct{}, err error) {
	done := make(chan struct{})
	if g.cfg.Metrics == "" {
		close(done)
		return done, nil
	}
	h, err := metrics.Handler(g.version, g.log, g.plugins, metrics.Code(g.codeStats))
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", g.cfg.Metrics)
	if err != nil {
		return nil, fmt.Errorf("metrics: listen on %s: %w", g.cfg.Metrics, errors.Unwrap(err))
	}
	g.log.Info("serving metrics", "url", "http://"+l.Addr().String()+"/metrics")
	go func() {
		defer close(done)
		if err := metrics.Serve(ctx, l, h, g.log); err != nil {
			g.log.Error("metrics are no longer served", "error", err)
		}
	}()
	return done, nil
}

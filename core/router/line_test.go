package router

import (
	"context"
	"log/slog"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
)

// record is what the line of a call in the log says.
type record struct {
	request, principal, model, provider, destination, status string
	code                                                     apierror.Code
	attempts, lost                                           []string
	usage                                                    openresponses.Usage
	firstByte, latency                                       float64 // ms
}

// lineHandler keeps the lines of calls, and passes every line on.
type lineHandler struct {
	slog.Handler
	b *bench
}

func (h lineHandler) Handle(ctx context.Context, line slog.Record) error {
	if line.Message == "model call" {
		var r record
		u := &r.usage
		line.Attrs(func(a slog.Attr) bool {
			switch v := a.Value.Any().(type) {
			case string:
				for key, field := range map[string]*string{"request": &r.request, "principal": &r.principal, "model": &r.model,
					"provider": &r.provider, "destination": &r.destination, "status": &r.status, "code": (*string)(&r.code)} {
					if a.Key == key {
						*field = v
					}
				}
			case []string:
				if a.Key == "attempts" {
					r.attempts = v
				} else {
					r.lost = v
				}
			case int64:
				*map[string]*int64{"input_tokens": &u.Input, "cache_read_tokens": &u.CacheRead, "cache_write_tokens": &u.CacheWrite,
					"cache_write_1h_tokens": &u.CacheWrite1h, "output_tokens": &u.Output, "reasoning_tokens": &u.Reasoning}[a.Key] = v
			case bool:
				u.Estimated = v
			case float64:
				*map[string]*float64{"first_byte_ms": &r.firstByte, "latency_ms": &r.latency}[a.Key] = v
			}
			return true
		})
		h.b.records <- r
	}
	if line.Message == "model call attempt failed" && h.b.failed != nil {
		h.b.failed()
	}
	return h.Handler.Handle(ctx, line)
}

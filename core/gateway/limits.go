package gateway

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/sallyport-gateway/sallyport/core/config"
	"github.com/sallyport-gateway/sallyport/core/egress"
	"github.com/sallyport-gateway/sallyport/core/ratelimit"
	"github.com/sallyport-gateway/sallyport/core/usage"
)

// openLimits makes the counters of limits and budgets, and fills them with what
// is on record.
func (g *Gateway) openLimits(ctx context.Context, cfg *config.Config) (err error) {
	g.limits, err = ratelimit.New(cfg.Limits(), g.log, ratelimit.Options{Send: g.alert})
	if err != nil {
		return err
	}
	g.restoreLimits(ctx)
	return nil
}

// alert posts an alert of a budget to its webhook.
func (g *Gateway) alert(ctx context.Context, hook ratelimit.Webhook, body []byte) error {
	gen, err := g.use()
	if err != nil {
		return err
	}
	outward := gen.cfg.Egress
	gen.leave()
	outward.Version = g.version
	out, err := egress.New(outward)
	if err != nil {
		return err
	}
	account := egress.AccountConfig{Name: "budget webhook", BaseURL: hook.URL, Private: hook.Private, Key: hook.Key}
	switch {
	case hook.Key.IsZero():
	case hook.Header == "":
		account.Credential = egress.Credential{Scheme: egress.SchemeBearer}
	default:
		account.Credential = egress.Credential{Scheme: egress.SchemeHeader, Name: hook.Header}
	}
	to, err := out.Account(account)
	if err != nil {
		return err
	}
	defer to.Close()
	res, err := to.Do(ctx, egress.Request{Header: http.Header{"Content-Type": {"application/json"}}, Body: body})
	if err != nil {
		return err
	}
	defer res.Body.Finish()
	if res.Status >= 300 {
		return fmt.Errorf("the webhook answered with status %d", res.Status)
	}
	return nil
}

// restoreLimits counts the calls on record for the limits and budgets that have
// not seen them: all of them at the start, new ones after a reload. What cannot
// be read is not counted, which is no reason to serve nobody.
func (g *Gateway) restoreLimits(ctx context.Context) {
	since, whole := g.limits.Since()
	if since.IsZero() || g.usage == nil {
		return
	}
	began, n := time.Now(), 0
	err := g.limits.Restore(func(yield func(ratelimit.Row, error) bool) {
		for r, err := range usage.Rows(ctx, g.tables, since, whole) {
			n++
			if !yield(ratelimit.Row(r), err) {
				return
			}
		}
	})
	if err != nil {
		g.log.Error("limits and budgets do not count all calls from before: the usage table cannot be read", "calls", n, "error", err)
		return
	}
	g.log.Info("limits and budgets count the calls on record", "calls", n, "since", since, "elapsed", time.Since(began))
}

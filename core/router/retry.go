package router

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/sallyport-gateway/sallyport/core/egress"
	"github.com/sallyport-gateway/sallyport/sdk/apierror"
)

// Bounds of trying again, all before anything was given to the client.
const (
	maxAttempts = 5               // of one call
	maxTries    = 2               // at one destination
	maxWait     = 5 * time.Second // a longer Retry-After means the next destination
	baseWait    = 200 * time.Millisecond
	// retryWindow is when the last attempt may begin, counted from the start
	// of the call. With the default first-byte timeout that is room for one
	// destination that hangs, and one more.
	retryWindow = 3 * time.Minute
)

// verdict says what may follow a failed attempt.
type verdict int

const (
	stop  verdict = iota // the request itself is at fault, or the gateway's configuration: nothing else would help
	next                 // another destination may serve it
	again                // this destination may serve it, after a moment
	fresh                // this destination may serve it at once: the plugin's process died, and a new one is there
)

func (v verdict) String() string { return [...]string{"stop", "next", "again", "fresh"}[v] }

// judge decides on a failed attempt. status is the provider's answer, 0 if
// there was none; kind is egress's, "" if it was not egress that failed.
func judge(status int, kind egress.Kind, code apierror.Code) verdict {
	switch kind {
	case egress.Connect, egress.Cut:
		return again
	case egress.FirstByte, egress.Idle:
		return next // it would take as long again
	case egress.Canceled, egress.Refused, egress.Redirect, egress.TooLarge, egress.Encoding:
		return stop
	}
	if code == apierror.Unavailable {
		return fresh
	}
	switch {
	case status == http.StatusRequestTimeout, status == http.StatusConflict, status == http.StatusTooManyRequests, status >= 500:
		return again
	case status >= 400:
		return stop
	}
	switch code { // an error inside a reply that began with success
	case apierror.UpstreamLimited, apierror.UpstreamFailed:
		return again
	case apierror.UpstreamTimeout:
		return next
	}
	return stop
}

// retryAfter reads how long a provider asks to wait, 0 if it does not say.
func retryAfter(h http.Header, now time.Time) time.Duration {
	if h["Retry-After"] == nil && h["Retry-After-Ms"] == nil {
		return 0
	}
	if n, err := strconv.ParseFloat(strings.TrimSpace(h.Get("Retry-After-Ms")), 64); err == nil && n > 0 && n < 1e9 {
		return time.Duration(n * float64(time.Millisecond))
	}
	v := strings.TrimSpace(h.Get("Retry-After"))
	if n, err := strconv.ParseFloat(v, 64); err == nil && n > 0 && n < 1e6 {
		return time.Duration(n * float64(time.Second))
	}
	if t, err := http.ParseTime(v); err == nil && t.After(now) {
		return t.Sub(now)
	}
	return 0
}

// pause is how long to wait before trying a destination again: what it asked
// for, or a short time, and in both cases a little more by chance, so that
// calls that failed together do not come back together.
func pause(asked time.Duration, random float64) time.Duration {
	if asked > 0 {
		return asked + time.Duration(random*float64(baseWait))
	}
	return baseWait/2 + time.Duration(random*float64(baseWait))
}

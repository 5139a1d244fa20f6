package httpapi

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/sallyport-gateway/sallyport/core/router"
	"github.com/sallyport-gateway/sallyport/sdk/apierror"
)

// readable refuses a query that two readers could read differently, or that
// cannot be sent on.
func readable(query string) error {
	if query == "" {
		return nil
	}
	_, err := url.ParseQuery(query)
	for i := range len(query) {
		if c := query[i]; c <= ' ' || c >= 0x7f || c == '#' {
			err = url.EscapeError("")
		}
	}
	if err != nil { // which shows a part of the query, where tokens stand
		return apierror.New(apierror.Invalid, "The query of the URL cannot be read. Join its parameters with &, and write a semicolon, a percent sign and whatever is not ASCII as an escape, as in %%3B.")
	}
	return nil
}

// sameModel refuses a body that names another model than the path does: one
// could be checked and the other be served.
func sameModel(asked string, scan *router.Scan) error {
	if !scan.Has("model") {
		return nil
	}
	said, ok := scan.String("model")
	if name := strings.TrimPrefix(said, modelsPrefix); ok && (name == asked || name == strings.TrimPrefix(asked, modelsPrefix) ||
		router.Canonical(name) != "" && router.Canonical(name) == router.Canonical(strings.TrimPrefix(asked, modelsPrefix))) {
		return nil
	}
	return apierror.At(apierror.Invalid, "model", "The body names another model than the path, which names %s. Leave model out of the body.", clip(asked))
}

// headerWithoutToken is h without the headers that hold the caller's token for
// this gateway, in whatever place, except where it belongs: those never leave.
// Clients and proxies put it into headers of their own, which would be sent on.
func headerWithoutToken(h http.Header, secret string) http.Header {
	out := h
	for name, values := range h {
		if !misplaced(name, values, secret) {
			continue
		}
		if len(out) == len(h) {
			out = h.Clone()
		}
		delete(out, name)
	}
	return out
}

// maskedHeader is h with *** in the place of the caller's token, for records.
func maskedHeader(h http.Header, secret string) http.Header {
	out, cloned := h, false
	for name, values := range h {
		if !misplaced(name, values, secret) {
			continue
		}
		if !cloned {
			out, cloned = h.Clone(), true
		}
		for i, v := range values {
			out[name][i] = masked(v, secret)
		}
	}
	return out
}

// masked is s with *** in the place of the caller's token.
func masked(s, secret string) string {
	if secret == "" {
		return s
	}
	return strings.ReplaceAll(s, secret, "***")
}

// misplaced reports whether a header that is not for tokens holds one.
func misplaced(name string, values []string, secret string) bool {
	if secret == "" {
		return false
	}
	switch name {
	case "Authorization", "X-Api-Key", "X-Goog-Api-Key", tokenHeader:
		return false
	}
	for _, v := range values {
		if strings.Contains(v, secret) {
			return true
		}
	}
	return false
}

// withoutToken is a query without the parameters that hold the caller's token.
func withoutToken(query, secret string) string {
	if query == "" || secret == "" {
		return query
	}
	var kept []string
	for part := range strings.SplitSeq(query, "&") {
		if plain, err := url.QueryUnescape(part); err == nil && !strings.Contains(plain, secret) {
			kept = append(kept, part)
		}
	}
	return strings.Join(kept, "&")
}

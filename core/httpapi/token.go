package httpapi

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
)

// tokenHeader carries the gateway's token where Authorization must stay the
// user's own for the provider. Source: the vendor's coding-agent launcher.
const tokenHeader = "X-Databricks-Ai-Gateway-Token"

// token finds the caller's token where any of the clients puts it; "" when
// there is none. An Authorization header that cannot be read is an error unless
// the token is elsewhere: its user would else look for a token that was sent.
func token(r *http.Request) (string, error) {
	first := func(name string) string { // which is canonical
		if vs := r.Header[name]; len(vs) > 0 {
			return vs[0]
		}
		return ""
	}
	if v := first(tokenHeader); v != "" {
		return strings.TrimSpace(v), nil
	}
	auth := first("Authorization")
	scheme, rest, _ := strings.Cut(auth, " ")
	rest = strings.TrimSpace(rest)
	if strings.EqualFold(scheme, "bearer") && rest != "" {
		return rest, nil
	}
	for _, h := range []string{"X-Api-Key", "X-Goog-Api-Key"} {
		if v := first(h); v != "" {
			return strings.TrimSpace(v), nil
		}
	}
	if r.URL.RawQuery != "" {
		if v := r.URL.Query().Get("key"); v != "" {
			return v, nil
		}
	}
	malformed := func(what string) (string, error) {
		return "", apierror.At(apierror.Unauthenticated, "Authorization", "The Authorization header %s. Send \"Authorization: Bearer TOKEN\".", what)
	}
	switch {
	case auth == "":
		return "", nil
	case strings.EqualFold(scheme, "bearer"):
		return malformed("has no token behind Bearer: the variable or file that the client takes it from may be empty")
	case rest == "":
		return malformed("has only one word: the scheme Bearer before the token, or the token, is missing") // the word may be a token: never shown
	case strings.EqualFold(scheme, "basic") || strings.EqualFold(scheme, "digest"):
		return malformed("has the scheme " + strings.ToLower(scheme) + ", which is not taken here")
	default:
		return malformed("does not begin with Bearer")
	}
}

// credentialParams are the query parameters in which clients send tokens.
var credentialParams = []string{"key", "access_token"}

// withoutCredentials is a query as it came, without the parameters that hold a
// token: byte for byte what the client wrote beside them.
func withoutCredentials(query string) string {
	if query == "" {
		return ""
	}
	var kept []string
	all := true
	for part := range strings.SplitSeq(query, "&") {
		name, _, _ := strings.Cut(part, "=")
		plain, err := url.QueryUnescape(name)
		secret := err != nil // cannot be read: it might be one
		for _, c := range credentialParams {
			secret = secret || strings.EqualFold(plain, c)
		}
		if all = all && !secret; !secret {
			kept = append(kept, part)
		}
	}
	if all {
		return query
	}
	return strings.Join(kept, "&")
}

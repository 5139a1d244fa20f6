package egress

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// Schemes by which a service takes its key: a closed set.
const (
	SchemeNone   = "none"   // no key; also ""
	SchemeBearer = "bearer" // Authorization: Bearer KEY
	SchemeHeader = "header" // a header of the given name
	SchemeQuery  = "query"  // a query parameter of the given name
)

// Credential says where an account's key goes.
type Credential struct {
	Scheme string `yaml:"scheme"` // none, bearer, header or query
	Name   string `yaml:"name"`   // of the header or query parameter; else empty
}

// Validate says what is wrong with a credential; nil when nothing is.
func (c Credential) Validate() error {
	switch c.Scheme {
	case "", SchemeNone, SchemeBearer:
		if c.Name != "" {
			return fmt.Errorf("credential scheme %q takes no name", c.Scheme)
		}
	case SchemeHeader:
		if !httpguts.ValidHeaderFieldName(c.Name) || dropped(http.CanonicalHeaderKey(c.Name)) {
			return fmt.Errorf("credential scheme %q: %q is not the name of a header it may use", c.Scheme, c.Name)
		}
	case SchemeQuery:
		if c.Name == "" || url.QueryEscape(c.Name) != c.Name {
			return fmt.Errorf("credential scheme %q: %q is not the name of a query parameter", c.Scheme, c.Name)
		}
	default:
		return fmt.Errorf("credential scheme %q is not one of none, bearer, header, query", c.Scheme)
	}
	return nil
}

// attach gives a request with the key. The caller has removed every credential
// that came with it.
func (a *Account) attach(r request, key string) (request, error) {
	if key == "" {
		return r, nil // a service in the operator's own network often wants none
	}
	if !httpguts.ValidHeaderFieldValue(key) || strings.ContainsAny(key, " \t") {
		return r, errors.New("the key of the account holds spaces, line breaks or control characters; check the variable or file it comes from")
	}
	switch a.cred.Scheme {
	case SchemeBearer:
		r.fields = append(r.fields, field{"Authorization", []string{"Bearer " + key}})
	case SchemeHeader:
		r.fields = append(r.fields, field{a.keyName, []string{key}})
	case SchemeQuery:
		if r.url.RawQuery != "" {
			r.url.RawQuery += "&"
		}
		r.url.RawQuery += a.cred.Name + "=" + url.QueryEscape(key)
	}
	return r, nil
}

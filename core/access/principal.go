package access

import (
	"slices"
	"strings"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
)

// Kind says what a principal is.
type Kind string

// The kinds of principals that can call.
const (
	KindUser             Kind = "user"
	KindServicePrincipal Kind = "service_principal"
	KindOperator         Kind = "operator" // whoever runs the gateway, where the configuration has no administrator; see Service.Operator
)

// Principal is who is calling, with what the token allows. It is never changed
// after it was made. Rights are not in it: a check asks the current snapshot
// about Name, so that a long run feels a revocation.
type Principal struct {
	Name    string
	Kind    Kind
	Admin   bool
	Groups  []string // all, also through other groups; sorted
	Scopes  []string // of the token; sorted
	TokenID string   // of the token, for usage rows and audit; not the token
}

// The scopes a token can have. ScopeAll and ScopeAllAPIs cover everything.
const (
	ScopeAll           = "all"
	ScopeAllAPIs       = "all-apis"
	ScopeAIGateway     = "ai-gateway"
	ScopeApps          = "apps"
	ScopeDashboards    = "dashboards"
	ScopeGenie         = "genie"
	ScopeModelServing  = "model-serving"
	ScopeUnityCatalog  = "unity-catalog"
	ScopeVectorSearch  = "vector-search"
	defaultTokenScopes = ScopeAll
)

var scopes = []string{
	ScopeAll, ScopeAllAPIs, ScopeAIGateway, ScopeApps, ScopeDashboards, ScopeGenie, ScopeModelServing, ScopeUnityCatalog, ScopeVectorSearch,
}

// NamedGroups is Groups without the one that everybody is in.
func (p *Principal) NamedGroups() []string {
	i, ok := slices.BinarySearch(p.Groups, AccountUsers)
	switch {
	case !ok:
		return p.Groups
	case i == 0:
		return p.Groups[1:]
	}
	return slices.Concat(p.Groups[:i], p.Groups[i+1:])
}

// HasScope reports whether the token carries scope. The empty scope asks for
// nothing and is always there.
func (p *Principal) HasScope(scope string) bool {
	if scope == "" {
		return true
	}
	for _, s := range p.Scopes {
		if s == scope || s == ScopeAll || s == ScopeAllAPIs {
			return true
		}
	}
	return false
}

// parseScopes checks names of scopes; none means all. The result is sorted and
// its own.
func parseScopes(names []string) ([]string, error) {
	var out []string
	for _, n := range names {
		n = strings.ToLower(strings.TrimSpace(n))
		if !slices.Contains(scopes, n) {
			return nil, apierror.New(apierror.Invalid, "There is no scope %s.%s The scopes are: %s.", show(n), didYouMean(n, scopes), strings.Join(scopes, ", "))
		}
		out = append(out, n)
	}
	if len(out) == 0 {
		out = append(out, defaultTokenScopes)
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

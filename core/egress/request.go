package egress

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// request is what leaves, but for the body. Its names and values were looked at.
type request struct {
	method string
	url    url.URL
	fields []field // of the head, each name once
}

// field is a name in a head, and its values.
type field struct {
	name   string
	values []string
}

// has reports whether the head has a field of that name with a value.
func (r *request) has(name string) bool {
	return slices.ContainsFunc(r.fields, func(f field) bool { return f.name == name && len(f.values) > 0 })
}

// http is r as net/http has it.
func (r *request) http() *http.Request {
	u, h := r.url, make(http.Header, len(r.fields))
	for _, f := range r.fields {
		h[f.name] = f.values
	}
	return &http.Request{Method: r.method, URL: &u, Host: u.Host, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: h}
}

// request builds what leaves, but for the key and the body.
func (a *Account) request(r *Request) (request, error) {
	if r.Relay {
		r.Query = a.without(r.Query)
	}
	u, err := a.resolve(r.Path, r.Query)
	if err != nil {
		return request{}, err
	}
	if a.cred.Scheme == SchemeQuery && u.Query().Has(a.cred.Name) {
		return request{}, fmt.Errorf("the query of the request already holds %q, which is where the key goes", a.cred.Name)
	}
	if name := a.named(r); name != "" {
		return request{}, fmt.Errorf("the query of the request holds %.64q, which only the configured URL and credential may set", name)
	}
	method := or(r.Method, http.MethodPost)
	switch method {
	case http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodHead:
	default:
		return request{}, fmt.Errorf("the method of the request, %q, is not one that is used here", method)
	}
	named := ""
	if r.Relay {
		named = strings.Join(r.Header["Connection"], ",")
	}
	const ours = 4 // the three below, and the key's
	fields, odd := make([]field, 0, len(r.Header)+ours), false
	for name, vs := range r.Header {
		k := http.CanonicalHeaderKey(name)
		if r.Relay && (a.kept(k) || named != "" && connectionNames(named, k)) {
			continue
		}
		own := a.own != "" && len(k) == len(a.own) && folded(k) == a.own // a name stays as long as it is
		if own && k != a.keyName {
			return request{}, fmt.Errorf("the header %.64q of the request may be read as %s, which is where the key goes", k, a.cred.Name)
		}
		if own || !r.Relay && (dropped(k) || CredentialHeader(k)) { // of a relayed one they are among those kept
			continue
		}
		if r.Plain {
			// Many services cannot tell X_Api_Key from X-Api-Key.
			if like := folded(k); dropped(like) || CredentialHeader(like) || steering(like) {
				continue
			}
		}
		if !httpguts.ValidHeaderFieldName(k) {
			return request{}, fmt.Errorf("%.64q is not a name that a header can have", k)
		}
		if !validValues(vs) {
			return request{}, fmt.Errorf("the header %s of the request holds line breaks or control characters", k)
		}
		if odd = odd || k != name; odd { // of a name in two spellings one is sent
			fields = without(fields, k)
		}
		fields = append(fields, field{k, vs})
	}
	agent, said := r.Header["User-Agent"]
	if !r.Relay || !said || !validValues(agent) {
		agent = a.agent
	}
	coding := gzipOnly
	if r.Stream {
		coding = identityOnly
	}
	fields = append(fields, field{"User-Agent", agent}, field{DepthHeader, counts[max(r.Depth, 0)]}, field{"Accept-Encoding", coding})
	return request{method, u, fields}, nil
}

// without takes the field of that name out.
func without(fields []field, name string) []field {
	for i := range fields {
		if fields[i].name == name {
			return append(fields[:i], fields[i+1:]...)
		}
	}
	return fields
}

// validValues reports whether vs can be the values of a header.
func validValues(vs []string) bool {
	for _, v := range vs {
		if !httpguts.ValidHeaderFieldValue(v) {
			return false
		}
	}
	return true
}

// counts are what DepthHeader says to the next gateway, by the depth here.
var counts = [MaxDepth][]string{{"1"}, {"2"}, {"3"}}

var identityOnly, gzipOnly = []string{"identity"}, []string{"gzip"}

// kept reports whether a header of a client's request stays here when the
// request is relayed, beyond those that never leave.
func (a *Account) kept(k string) bool {
	like := k
	for i := range len(k) {
		if c := k[i]; c != '-' && (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') {
			like = folded(k) // many services cannot tell X_Api_Key from X-Api-Key
			break
		}
	}
	return dropped(like) || CredentialHeader(like) || steering(like) || like == "X-Goog-Fieldmask" || like == "X-Goog-User-Project" ||
		strings.HasPrefix(like, "X-Databricks-") || strings.HasPrefix(like, "Databricks-") || strings.HasPrefix(like, "Sallyport-") ||
		a.own != "" && strings.EqualFold(like, a.own)
}

// connectionNames reports whether a header is named in a Connection header: it
// is about that connection then.
func connectionNames(named, k string) bool {
	for name := range strings.SplitSeq(named, ",") {
		if strings.EqualFold(strings.TrimSpace(name), k) {
			return true
		}
	}
	return false
}

// without is a client's query without the parameters that the base URL or the
// credential names, and without system parameters; all else stays as it is
// written.
func (a *Account) without(query string) string {
	if query == "" {
		return ""
	}
	base := a.target.base.Query()
	var rest []string
	for part := range strings.SplitSeq(query, "&") {
		name, value, _ := strings.Cut(part, "=")
		plain, err := url.QueryUnescape(name)
		if err != nil || systemParameter(plain, value) || a.cred.Scheme == SchemeQuery && parameter(plain) == parameter(a.cred.Name) {
			continue
		}
		taken := false
		for own := range base {
			taken = taken || parameter(own) == parameter(plain)
		}
		if !taken {
			rest = append(rest, part)
		}
	}
	return strings.Join(rest, "&")
}

// systemParameter reports whether Google's services read a parameter of a query
// as one about the call itself, whatever is called: who makes it, what of the
// reply is sent (without the counts a call looks as if it cost nothing) and in
// which form, other than the two that are read here. Each may be written with a
// dollar sign. Source: Google's "System parameters".
func systemParameter(name, value string) bool {
	switch parameter(strings.TrimLeft(name, "$. ")) {
	case "Alt":
		form, err := url.QueryUnescape(value)
		return err != nil || form != "sse" && form != "json"
	case "Fields", "Callback", "Jsonp", "Userproject", "Quotauser", "Userip", "Key", "Access-Token", "Oauth-Token", "Bearer-Token", "Authuser",
		"Httpmethod", "Httpheaders", "Upload-Protocol", "Uploadtype":
		return true
	}
	return false
}

// named returns a parameter in the query of a plain request that the base URL
// or the credential names already, "" when there is none. Services differ in
// which of two they take, and in how much of a name they look at.
func (a *Account) named(r *Request) string {
	if !r.Plain || r.Query == "" {
		return ""
	}
	q, err := url.ParseQuery(r.Query)
	if err != nil {
		return ""
	}
	taken := map[string]bool{}
	if a.cred.Scheme == SchemeQuery {
		taken[parameter(a.cred.Name)] = true
	}
	for name := range a.target.base.Query() {
		taken[parameter(name)] = true
	}
	for name := range q {
		if taken[parameter(name)] {
			return name
		}
	}
	return ""
}

// parameter is the name of a query parameter as the least exact service reads
// it: key[0] and KEY are key.
func parameter(name string) string {
	name, _, _ = strings.Cut(name, "[")
	return folded(strings.TrimSpace(name))
}

// folded is a name in the canonical form of a header, with a dash for all that
// is neither letter nor digit: services that keep headers in variables see no
// difference.
func folded(name string) string {
	return http.CanonicalHeaderKey(strings.Map(func(c rune) rune {
		if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' {
			return c
		}
		return '-'
	}, name))
}

// dropped reports whether a header belongs to one connection, or is set here.
func dropped(k string) bool {
	switch k {
	case "Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
		"Host", "Content-Length", "Accept-Encoding", "User-Agent", "Expect", DepthHeader:
		return true
	}
	return strings.HasPrefix(k, "X-Forwarded-")
}

// CredentialHeader reports whether a header of that canonical name is one that
// clients and services put credentials in. None is passed on: the account's own
// key is the only credential that leaves.
func CredentialHeader(name string) bool {
	switch name {
	case "Authorization", "Proxy-Authorization", "Cookie", "X-Api-Key", "Api-Key", "X-Goog-Api-Key", "Forwarded":
		return true
	}
	return false
}

// steering reports whether a plain request must not hold a header: some services
// take the path or the method from it, or send a part of the answer.
func steering(k string) bool {
	switch k {
	case "Range", "If-Range", "X-Original-Url", "X-Original-Uri", "X-Rewrite-Url", "X-Http-Method-Override", "X-Http-Method", "X-Method-Override":
		return true
	}
	return false
}

package golden

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/provider"
)

// Breach is a rule that was broken.
type Breach struct {
	Rule string // short and stable: "two-terminal-events"
	Text string // what was seen
}

// Error implements error.
func (b *Breach) Error() string { return b.Text }

// Outcome is what a Decode gave.
type Outcome struct {
	Lines  []string // the events in the form of openresponses.Event.AppendJSON
	Err    error    // the error it ended in
	Broken *Breach  // the first rule it broke
	Acc    openresponses.Accumulator
	Last   openresponses.Event // the last event
}

// Text is the section events.
func (o *Outcome) Text() string {
	s := Lines(o.Lines)
	if o.Err != nil {
		s += ErrorLine(o.Err)
	}
	return s
}

// Completed reports whether the turn claims to be whole.
func (o *Outcome) Completed() bool {
	end := o.Acc.Terminal()
	return o.Err == nil && end != nil && end.Status == openresponses.StatusCompleted
}

// SameItems reports whether two outcomes built the same items.
func SameItems(a, b *Outcome) bool {
	return slices.EqualFunc(a.Acc.Items(), b.Acc.Items(), func(x, y openresponses.Item) bool {
		return bytes.Equal(x.AppendJSON(nil), y.AppendJSON(nil))
	})
}

// Decode reads a whole reply and checks the rules that hold for any.
func Decode(ctx context.Context, ex provider.Exchange, r provider.Reply) *Outcome {
	o := new(Outcome)
	broken := func(rule, format string, args ...any) {
		if o.Broken == nil {
			o.Broken = &Breach{rule, fmt.Sprintf(format, args...)}
		}
	}
	for e, err := range ex.Decode(ctx, r) {
		if o.Err != nil {
			broken("event-after-error", "something follows the error %v", o.Err)
		}
		if err != nil {
			o.Err = err
			continue
		}
		o.Lines = append(o.Lines, string(e.AppendJSON(nil)))
		o.Last = e
		ended := o.Acc.Terminal() != nil
		switch err := o.Acc.Add(e); {
		case err == nil:
		case ended && e.IsTerminal():
			broken("two-terminal-events", "%v", err)
		case ended:
			broken("event-after-terminal", "%v", err)
		default:
			broken("event-grammar", "%v", err)
		}
	}
	switch {
	case o.Err == nil && o.Acc.Terminal() == nil:
		broken("no-terminal-event", "ended with neither a terminal event nor an error")
	case o.Err != nil && o.Acc.Terminal() != nil:
		broken("event-after-terminal", "an error after the terminal event: %v", o.Err)
	case o.Err != nil && !upstreamCode(apierror.CodeOf(o.Err)):
		broken("error-code", "error with code %q: %v; want one of the Upstream codes", apierror.CodeOf(o.Err), o.Err)
	}
	return o
}

func upstreamCode(c apierror.Code) bool {
	return strings.HasPrefix(string(c), "upstream_") || c == apierror.Canceled
}

// credentials are names of headers and query parameters that only the core
// may set.
var credentials = []string{
	"authorization", "proxy-authorization", "cookie", "x-api-key", "api-key", "apikey", "x-goog-api-key", "x-amz-security-token",
	"key", "api_key", "access_token", "token",
}

// Credential reports whether a header or query parameter of that name carries
// a credential.
func Credential(name string) bool { return slices.Contains(credentials, strings.ToLower(name)) }

// CheckUpstream says what is wrong with the request a translator asks for.
func CheckUpstream(up *provider.Upstream) []*Breach {
	var wrong []*Breach
	add := func(rule, format string, args ...any) {
		wrong = append(wrong, &Breach{rule, fmt.Sprintf(format, args...)})
	}
	for name := range up.Header {
		if Credential(name) {
			add("upstream-credential", "Upstream has the header %s: a translator has no credentials", name)
		}
		if strings.EqualFold(name, "host") {
			add("upstream-host", "Upstream has the header %s: the gateway knows the host", name)
		}
	}
	for pair := range strings.SplitSeq(up.Query, "&") {
		if name, _, _ := strings.Cut(pair, "="); Credential(name) {
			add("upstream-credential", "Upstream has the query parameter %s: a translator has no credentials", name)
		}
	}
	switch {
	case strings.Contains(up.Path, "://") || strings.HasPrefix(up.Path, "//"):
		add("upstream-host", "Upstream has the path %q: want one relative to the base URL, without a host", up.Path)
	case strings.HasPrefix(up.Path, "/") || strings.Contains(up.Path, "//") || strings.Contains(up.Path, "..") || strings.ContainsAny(up.Path, "?#"):
		add("upstream-path", "Upstream has the path %q: want one relative to the base URL, and the query apart", up.Path)
	}
	if bytes.Contains(up.Body, []byte("sp1.")) {
		add("upstream-state", "Upstream leaks an opaque state envelope (sp1.…)")
	}
	return wrong
}

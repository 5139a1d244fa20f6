package egress

import (
	"errors"
	"time"
)

// Kind says how a request failed. Callers branch on it.
type Kind string

// The kinds. Only Connect, FirstByte, Idle and Cut may be tried again, and of
// those only Connect is sure not to have reached the service.
const (
	Connect   Kind = "connect"    // no connection: name, network, TLS, or proxy; nothing was sent
	FirstByte Kind = "first_byte" // no byte of the response in time
	Idle      Kind = "idle"       // the body stood still for too long
	Cut       Kind = "cut"        // the connection ended before the response did
	Canceled  Kind = "canceled"   // the caller's context ended
	Redirect  Kind = "redirect"   // the service answered with a redirect, which is never followed
	Refused   Kind = "refused"    // this package refused: address, path, header, loop, or key
	TooLarge  Kind = "too_large"  // the response is longer than the bound
	Encoding  Kind = "encoding"   // the response is compressed in a way that was not asked for, or wrongly
)

// Error is every error of this package. Its text names the account and what
// happened; it holds neither a credential nor a query.
type Error struct {
	Kind    Kind
	Account string
	Text    string        // a sentence without the account, safe to show
	Sent    bool          // the request may have reached the service, and so may be billed
	After   time.Duration // how long the wait was, for FirstByte and Idle
	Wrong   bool          // of Refused: the request cannot be made by anybody; its path, query, method, headers or body are at fault

	cause error // context errors only: the text of others may hold what was sent
}

// Error gives the account and the text.
func (e *Error) Error() string { return "account \"" + e.Account + "\": " + e.Text }

// Unwrap returns the context's error for Canceled, else nil.
func (e *Error) Unwrap() error { return e.cause }

// KindOf returns the kind of the first Error in err's chain, "" if none.
func KindOf(err error) Kind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return ""
}

// Causes for which a request is ended.
var (
	errFirstByte = errors.New("no response head in time")
	errIdle      = errors.New("body stood still")
	errClosed    = errors.New("response closed")
)

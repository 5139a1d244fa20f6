// Package apierror holds the one kind of error a client may see. Its codes are
// a closed list and keep their meaning across process borders: a plugin that
// returns apierror.Denied is answered with the status for Denied, whatever
// language it is written in. Any other error reaches a client as "internal"
// and its text only reaches the log.
package apierror

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Code says what kind of failure an Error is. Callers branch on it; nobody
// compares messages.
type Code string

// The closed list. The HTTP status beside each is what core/httpapi answers.
const (
	Invalid         Code = "invalid"          // 400: the request is wrong; Param names the field
	Unsupported     Code = "unsupported"      // 400: well-formed, but not offered here
	Unauthenticated Code = "unauthenticated"  // 401: no token, or one we do not know
	Denied          Code = "denied"           // 403: known caller, missing privilege or scope
	NotFound        Code = "not_found"        // 404
	Timeout         Code = "timeout"          // 408: the client sent its body too slowly
	Conflict        Code = "conflict"         // 409
	TooLarge        Code = "too_large"        // 413
	RateLimited     Code = "rate_limited"     // 429: a limit of ours; RetryAfter is set
	BudgetExceeded  Code = "budget_exceeded"  // 403, to coding tools 400: a budget of ours is spent
	OAuth           Code = "oauth"            // the user must log in to a connection first; Message holds the URL
	Canceled        Code = "canceled"         // the caller went away
	Internal        Code = "internal"         // 500: our fault; the message never tells more
	UpstreamInvalid Code = "upstream_invalid" // 400: the provider refused the request we made of the caller's
	UpstreamAuth    Code = "upstream_auth"    // 502: the provider refused our credential
	UpstreamLimited Code = "upstream_limited" // 429: the provider's own limit or overload
	UpstreamFailed  Code = "upstream_failed"  // 502: the provider failed, cut the reply, or sent garbage
	UpstreamTimeout Code = "upstream_timeout" // 504: the provider did not answer in time
	Unavailable     Code = "unavailable"      // 503: a part of the gateway (a plugin, an engine) is down; try again
)

// Codes lists every code, for tables and for the wire.
var Codes = []Code{
	Invalid, Unsupported, Unauthenticated, Denied, NotFound, Timeout, Conflict, TooLarge, RateLimited, BudgetExceeded, OAuth,
	Canceled, Internal, UpstreamInvalid, UpstreamAuth, UpstreamLimited, UpstreamFailed, UpstreamTimeout, Unavailable,
}

// Error is what a client may see. Message is a sentence for a person: what is
// wrong, and what to do about it. It never holds a secret.
type Error struct {
	Code       Code
	Message    string
	Param      string        // the field of the request at fault, such as "tools[1].table.name"; "" if none
	RetryAfter time.Duration // when trying again may help; 0 if unknown
	Upstream   *Upstream     // set when the failure came from a model provider

	cause error // for the log; never on the wire
}

// Upstream says what a model provider answered.
type Upstream struct {
	Status    int    `json:"status,omitempty"`     // its HTTP status
	RequestID string `json:"request_id,omitempty"` // its own id of the request, for a support ticket
	Code      string `json:"code,omitempty"`       // its own error code or type
}

// New makes an Error.
func New(c Code, format string, args ...any) *Error {
	return &Error{Code: c, Message: fmt.Sprintf(format, args...)}
}

// At makes an Error about one field of the request.
func At(c Code, param, format string, args ...any) *Error {
	return &Error{Code: c, Param: param, Message: fmt.Sprintf(format, args...)}
}

// Wrap makes an Error whose cause the log may show and the client may not.
func Wrap(c Code, cause error, format string, args ...any) *Error {
	return &Error{Code: c, Message: fmt.Sprintf(format, args...), cause: cause}
}

// Error gives the message, and the cause behind it for the log.
func (e *Error) Error() string {
	if e.cause != nil {
		return e.Message + ": " + e.cause.Error()
	}
	return e.Message
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.cause }

// Is reports whether err is, or wraps, an Error with code c.
func Is(err error, c Code) bool { return err != nil && CodeOf(err) == c }

// CodeOf returns the code of the first Error in err's chain; Internal for any
// other error, "" for nil.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return Internal
}

// From returns the Error to show for err: the first one in its chain, or one
// that says nothing but "internal error", with err as cause. Nil stays nil.
func From(err error) *Error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return Wrap(Internal, err, "The gateway met an internal error.")
}

type wire struct {
	Code         Code      `json:"code"`
	Message      string    `json:"message"`
	Param        string    `json:"param,omitempty"`
	RetryAfterMS int64     `json:"retry_after_ms,omitempty"`
	Upstream     *Upstream `json:"upstream,omitempty"`
}

// MarshalJSON writes the form used between processes. The cause stays behind.
func (e *Error) MarshalJSON() ([]byte, error) {
	return json.Marshal(wire{e.Code, e.Message, e.Param, e.RetryAfter.Milliseconds(), e.Upstream})
}

// UnmarshalJSON reads that form. A code outside the list becomes Internal.
func (e *Error) UnmarshalJSON(b []byte) error {
	var w wire
	if err := json.Unmarshal(b, &w); err != nil {
		return err
	}
	*e = Error{Code: Internal, Message: w.Message, Param: w.Param, RetryAfter: time.Duration(w.RetryAfterMS) * time.Millisecond, Upstream: w.Upstream}
	for _, c := range Codes {
		if c == w.Code {
			e.Code = c
		}
	}
	return nil
}

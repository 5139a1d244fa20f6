// Package fault carries errors between a plugin and the gateway. An apierror
// keeps its code, whichever way it goes; of any other error only "internal"
// crosses, and its text is logged in the process where it happened.
package fault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
)

// MaxMessage is the largest gRPC message that the adapters let pass, in bytes.
// It is below boot.MaxMessage, which servers set.
const MaxMessage = 34 << 20

// maxPayload is what Fits lets through: a body of 32 MiB with what belongs to
// it. The rest up to MaxMessage is for the frame.
const maxPayload = 33 << 20

// Encode gives the wire form of err, and logs what does not cross. The step
// says what was being done: "call".
func Encode(log *slog.Logger, step string, err error) []byte {
	e, ok := errors.AsType[*apierror.Error](err)
	switch {
	case ok && e.Unwrap() != nil && e.Code != apierror.Canceled:
		log.Warn("error behind a reply", "step", step, "code", e.Code, "error", err)
	case ok:
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		e = Canceled(err)
	default:
		log.Error("internal error", "step", step, "error", err)
		e = apierror.From(err)
	}
	b, err := json.Marshal(e)
	if err != nil { // of two strings and a few numbers: cannot fail
		return []byte(`{"code":"internal","message":"The gateway met an internal error."}`)
	}
	return b
}

// Decode reads that form.
func Decode(b []byte) error {
	e := new(apierror.Error)
	if err := json.Unmarshal(b, e); err != nil {
		return apierror.From(fmt.Errorf("read error from plugin: %w", err))
	}
	return e
}

// Canceled is the error of a call whose context ended for the given reason.
func Canceled(cause error) *apierror.Error {
	return apierror.Wrap(apierror.Canceled, cause, "The call was canceled.")
}

// FromStatus makes an apierror of an error that gRPC gave the caller of a
// plugin. The kind is that of the plugin: "tool".
func FromStatus(ctx context.Context, kind string, err error) error {
	if ctx.Err() != nil {
		return Canceled(context.Cause(ctx))
	}
	switch status.Code(err) {
	case codes.DeadlineExceeded: // the plugin's clock was a little ahead of ours
		return Canceled(context.DeadlineExceeded)
	case codes.Unavailable, codes.Canceled, codes.Aborted:
		return apierror.Wrap(apierror.Unavailable, err, "The %s plugin that serves this stopped before it answered. Try again.", kind)
	case codes.ResourceExhausted:
		return apierror.Wrap(apierror.TooLarge, err, "A message to or from the %s plugin is larger than %d MiB. Ask for less.", kind, maxPayload>>20)
	case codes.Unimplemented:
		return apierror.Wrap(apierror.Unavailable, err, "The plugin does not speak the %s protocol of this gateway. Update the plugin.", kind)
	}
	return apierror.From(fmt.Errorf("%s plugin: %w", kind, err))
}

// Fits reports a message that is too large to be sent, before gRPC gives up
// the whole stream for it. The thing is what the message carries: "The result".
func Fits(m proto.Message, thing string) error {
	if n := proto.Size(m); n > maxPayload {
		return apierror.New(apierror.TooLarge, "%s is %d bytes long; at most %d MiB can pass between gateway and plugin.", thing, n, maxPayload>>20)
	}
	return nil
}

// Caught turns a recovered panic into an error and logs where it came from. A
// nil value stays nil.
func Caught(log *slog.Logger, step string, v any) error {
	if v == nil {
		return nil
	}
	log.Error("panic", "step", step, "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
	return apierror.New(apierror.Internal, "The gateway met an internal error.")
}

// Text makes s fit for a protobuf string, which must be UTF-8.
func Text(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

// Texts does the same for a list.
func Texts(in []string) []string {
	out := make([]string, len(in))
	for i, s := range in {
		out[i] = Text(s)
	}
	return out
}

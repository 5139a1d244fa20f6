package fault

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
)

func TestFromStatus(t *testing.T) {
	t.Parallel()
	ended, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("client gone")
	cancel(gone)
	tests := []struct {
		ctx  context.Context
		in   codes.Code
		want apierror.Code
	}{
		{t.Context(), codes.Unavailable, apierror.Unavailable},
		{t.Context(), codes.Canceled, apierror.Unavailable}, // not by us: the connection was closed
		{t.Context(), codes.Unimplemented, apierror.Unavailable},
		{t.Context(), codes.ResourceExhausted, apierror.TooLarge},
		{t.Context(), codes.DeadlineExceeded, apierror.Canceled},
		{t.Context(), codes.Internal, apierror.Internal},
		{t.Context(), codes.Unknown, apierror.Internal},
		{ended, codes.Unavailable, apierror.Canceled},
		{ended, codes.Canceled, apierror.Canceled},
	}
	for _, tt := range tests {
		err := FromStatus(tt.ctx, "tool", status.Error(tt.in, "detail"))
		if !apierror.Is(err, tt.want) || strings.Contains(apierror.From(err).Message, "detail") {
			t.Errorf("FromStatus(%v) with context %v = %v, want %s without detail for the client", tt.in, tt.ctx.Err(), err, tt.want)
		}
		if tt.ctx == ended && !errors.Is(err, gone) {
			t.Errorf("FromStatus(%v) = %v, want the cause of the context in it", tt.in, err)
		}
	}
}

func TestEncode(t *testing.T) {
	t.Parallel()
	tests := []struct {
		in   error
		want apierror.Code
		log  string // the level of the line it makes; "" for none
	}{
		{apierror.New(apierror.Denied, "No."), apierror.Denied, ""},
		{fmt.Errorf("open: %w", apierror.New(apierror.Denied, "No.")), apierror.Denied, ""},
		{apierror.Wrap(apierror.NotFound, errors.New("detail"), "No."), apierror.NotFound, "WARN"},
		{Canceled(errors.New("detail")), apierror.Canceled, ""},
		{context.Canceled, apierror.Canceled, ""},
		{errors.New("detail"), apierror.Internal, "ERROR"},
		{Caught(slog.New(slog.DiscardHandler), "call", "detail"), apierror.Internal, ""}, // Caught itself has logged
	}
	for _, tt := range tests {
		var log bytes.Buffer
		err := Decode(Encode(slog.New(slog.NewTextHandler(&log, nil)), "call", tt.in))
		if !apierror.Is(err, tt.want) || strings.Contains(err.Error(), "detail") {
			t.Errorf("%v crossed as %v, want %s without detail", tt.in, err, tt.want)
		}
		if (log.Len() == 0) != (tt.log == "") || !strings.Contains(log.String(), tt.log) {
			t.Errorf("%v was logged as %q, want level %q", tt.in, log.String(), tt.log)
		}
	}
	if Caught(slog.New(slog.DiscardHandler), "call", nil) != nil {
		t.Error("Caught(nil) is an error")
	}
}

func TestFits(t *testing.T) {
	t.Parallel()
	if err := Fits(wrapperspb.Bytes(make([]byte, 32<<20)), "A body"); err != nil {
		t.Errorf("32 MiB: %v", err)
	}
	if err := Fits(wrapperspb.Bytes(make([]byte, maxPayload)), "A body"); !apierror.Is(err, apierror.TooLarge) || !strings.HasPrefix(err.Error(), "A body") {
		t.Errorf("more than fits: %v, want too_large naming the body", err)
	}
}

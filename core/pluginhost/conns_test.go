package pluginhost

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
)

// A request takes four descriptors of the gateway, which keeps some besides.
func TestConnsOf(t *testing.T) {
	t.Parallel()
	tests := []struct {
		limit uint64
		want  int
	}{
		{0, 16}, {256, 16}, {319, 16}, {320, 16}, {324, 17}, {1023, 191}, {1024, 192}, {4096, 960},
		{16639, 4095}, {16640, 4096}, {20000, 4096}, {1 << 20, 4096}, {math.MaxInt64, 4096}, {math.MaxUint64, 4096},
	}
	for _, tt := range tests {
		if got := connsOf(tt.limit); got != tt.want {
			t.Errorf("connsOf(%d) = %d, want %d", tt.limit, got, tt.want)
		}
	}
}

// A gateway without descriptors tells its operator, not once for every request,
// and tries no second process.
func TestDialWithoutDescriptors(t *testing.T) {
	t.Parallel()
	var logged strings.Builder
	pr := &process{name: "x", log: slog.New(slog.NewTextHandler(&logged, nil)), scarce: new(atomic.Int64)}
	failing := func(errno syscall.Errno) error {
		_, err := pr.dial(func(context.Context) (net.Conn, error) {
			return nil, &net.OpError{Op: "dial", Net: "unix", Err: os.NewSyscallError("socket", errno)}
		})(t.Context())
		return err
	}
	if err := failing(syscall.ECONNREFUSED); !errors.Is(err, errUnreached) || logged.Len() != 0 {
		t.Errorf("error %v, want %v and nothing in the log: %s", err, errUnreached, &logged)
	}
	for _, errno := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.EMFILE} {
		if err := failing(errno); errors.Is(err, errUnreached) || !errors.Is(err, errno) {
			t.Errorf("error %v, want %v alone", err, errno)
		}
	}
	told := func() int { return strings.Count(logged.String(), "no file descriptors left") }
	if n := told(); n != 1 {
		t.Errorf("told %d times, want once\n%s", n, &logged)
	}
	pr.scarce.Add(-60) // a minute later
	if failing(syscall.EMFILE); told() != 2 {
		t.Errorf("told %d times a minute later, want twice\n%s", told(), &logged)
	}
}

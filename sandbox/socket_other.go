//go:build !unix

package sandbox

import (
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
)

func socketpair() (*net.UnixConn, *os.File, error) {
	return nil, nil, fmt.Errorf("workers do not run on %s: %w", runtime.GOOS, errors.ErrUnsupported)
}

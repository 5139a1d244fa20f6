package gateway

import (
	"crypto/tls"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/sallyport-gateway/sallyport/core/config"
)

// certificates are those of all listeners, read again by a reload, so that a
// renewed one needs no restart.
type certificates []*certificate

type certificate struct {
	files config.TLS
	pair  atomic.Pointer[tls.Certificate]
}

// add reads a certificate and gives what serves with it.
func (cs *certificates) add(files config.TLS) (*tls.Config, error) {
	c := &certificate{files: files}
	if err := c.read(); err != nil {
		return nil, err
	}
	*cs = append(*cs, c)
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.pair.Load(), nil },
		// The small records with which a connection begins would split events.
		DynamicRecordSizingDisabled: true,
	}, nil
}

func (c *certificate) read() error {
	pair, err := tls.LoadX509KeyPair(c.files.Cert, c.files.Key)
	if err != nil {
		return fmt.Errorf("certificate %s: %w", c.files.Cert, err)
	}
	c.pair.Store(&pair)
	return nil
}

// reload reads the files again. One that cannot be read stays as it was.
func (cs certificates) reload() error {
	var errs []error
	for _, c := range cs {
		errs = append(errs, c.read())
	}
	return errors.Join(errs...)
}

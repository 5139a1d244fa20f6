package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"

	"github.com/sallyport-gateway/sallyport/core/config"
)

// Listen opens the configured address.
func Listen(cfg *config.Config) (net.Listener, error) {
	return listen(cfg.Listen.Address, "listen")
}

func listen(address, key string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("%s: %s: %w (is another gateway running? choose another port with --listen or in the configuration)", key, address, errors.Unwrap(err))
	}
	return l, nil
}

// door is one address at which the gateway answers.
type door struct {
	server   *http.Server
	listener net.Listener
	secure   bool // with TLS
}

// open makes the doors of the configuration, the first at l, and answers at
// none. After an error only l is open. A request's context ends when base does.
func (g *Gateway) open(base context.Context, l net.Listener) (doors []door, err error) {
	entries := append([]config.Listener{{Address: g.cfg.Listen.Address, TLS: g.cfg.Listen.TLS}}, g.cfg.Listeners...)
	secured := make([]*tls.Config, len(entries))
	for i, e := range entries {
		if e.TLS.Cert == "" {
			continue
		}
		g.applying.Lock()
		secured[i], err = g.certificates.add(e.TLS)
		g.applying.Unlock()
		if err != nil {
			return nil, err
		}
	}
	defer func() {
		if err != nil && len(doors) > 0 {
			closeAll(doors[1:])
		}
	}()
	for i, e := range entries {
		if i > 0 {
			if l, err = listen(e.Address, "listeners"); err != nil {
				return doors, err
			}
			g.log.Info("listening", "address", l.Addr().String(), "surfaces", e.Surfaces)
		}
		srv, l := g.api.Server(base, l, e.Surfaces...)
		srv.TLSConfig = secured[i]
		doors = append(doors, door{srv, l, secured[i] != nil})
	}
	return doors, nil
}

func closeAll(doors []door) {
	for _, d := range doors {
		d.listener.Close()
	}
}

// serve answers until the door's server is shut down.
func (d door) serve() error {
	if d.secure {
		return d.server.ServeTLS(d.listener, "", "")
	}
	return d.server.Serve(d.listener)
}

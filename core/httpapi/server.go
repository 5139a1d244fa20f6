package httpapi

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
)

const (
	// maxHeader is how many bytes the header of a request may have. Coding
	// agents send a few KiB, some of it JSON.
	maxHeader = 64 << 10
	// readHeader is how much of one is read, so that an answer can say what is
	// wrong with one that is longer; beyond, net/http answers in few words.
	readHeader = 4 * maxHeader
)

// Server makes the http.Server for the API and the listener to serve it on. It
// speaks HTTP/1.1, HTTP/2 under TLS, and without TLS HTTP/2 with those that
// begin with it; the caller sets TLSConfig. A request's context ends when base does. With surfaces, only
// those are served there, and /health.
func (a *API) Server(base context.Context, l net.Listener, surfaces ...string) (*http.Server, net.Listener) {
	handler := a.handler
	if len(surfaces) > 0 {
		handler = a.Handler(surfaces...)
	}
	protocols := &http.Protocols{}
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true)
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second, // of bodies that nobody reads; readBody sets its own
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    readHeader,
		Protocols:         protocols,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: 250,
			SendPingTimeout:      keepAlive, // a peer that is gone holds no streams
			PingTimeout:          keepAlive,
			WriteByteTimeout:     writeTimeout,
		},
		BaseContext: func(net.Listener) context.Context { return base },
		ConnContext: withConn,
		ErrorLog:    slog.NewLogLogger(a.log.Handler(), slog.LevelDebug),
	}, listener{l}
}

// headerSize is about how many bytes the header of r had on the wire.
func headerSize(r *http.Request) int {
	n := len(r.Method) + len(r.RequestURI)
	for k, vs := range r.Header {
		for _, v := range vs {
			n += len(k) + len(v) + len(": \r\n")
		}
	}
	return n
}

// headersTooLarge says which header it is that makes them too large.
func (a *API) headersTooLarge(w http.ResponseWriter, r *http.Request, size int) {
	name, largest := "the address", len(r.RequestURI)
	for k, vs := range r.Header {
		n := 0
		for _, v := range vs {
			n += len(v)
		}
		if n > largest {
			name, largest = k, n
		}
	}
	w.Header().Set("Connection", "close")
	an := answer{http.StatusRequestHeaderFieldsTooLarge, "INVALID_PARAMETER_VALUE", "invalid_request_error", "invalid_request"}
	message := fmt.Sprintf("The headers of this request have %d bytes; this gateway takes %d. The largest is %s, with %d bytes.", size, maxHeader, clip(name), largest)
	var m manner
	if f, ok := requestOf(r).state.Surfaces.find(r.Method, r.URL, nil); ok {
		m = f.entry.manner
	}
	a.refuseAs(w, r, an, apierror.New(apierror.Invalid, "%s", message), m)
}

package httpapi

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/sallyport-gateway/sallyport/core/access"
	"github.com/sallyport-gateway/sallyport/sdk/apierror"
)

// zstdWindow is how far back a body may refer, which the decoder keeps in
// memory. Source: RFC 8878 section 3.1.1.1.2, what every decoder should take.
const zstdWindow = 8 << 20

// readPlain is readShare for bodies that may be compressed with gzip or zstd;
// decoded it says that this one was. What comes out is bounded as what comes in
// is.
func (a *API) readPlain(w http.ResponseWriter, r *http.Request, p *access.Principal) (body []byte, sh *share, decoded bool, err error) {
	coding := strings.ToLower(strings.Join(r.Header.Values("Content-Encoding"), ","))
	switch coding {
	case "", "identity", "gzip", "x-gzip", "zstd":
	default:
		return nil, nil, false, apierror.At(apierror.Unsupported, "Content-Encoding", "Content-Encoding %s of requests is not read here. Send the body uncompressed, or with gzip or zstd.", clip(coding))
	}
	if body, sh, err = a.readShare(w, r, p); err != nil || coding == "" || coding == "identity" {
		return body, sh, false, err
	}
	sh.shrink(int64(cap(body))) // nothing parses it as it is
	plain, err := a.decode(r, coding, body, sh)
	if err != nil {
		sh.release()
		return nil, nil, false, err
	}
	sh.shrink(int64(len(plain)) * parsedCopies)
	return plain, sh, true, nil
}

// decode decompresses body, charging sh as the bytes come out.
func (a *API) decode(r *http.Request, coding string, body []byte, sh *share) ([]byte, error) {
	broken := func(err error) error {
		return apierror.At(apierror.Invalid, "Content-Encoding", "The request body cannot be read as %s: %v.", coding, err)
	}
	var from io.Reader
	if coding == "zstd" {
		if err := sh.grow(r.Context(), sh.bytes+zstdWindow); err != nil {
			return nil, err
		}
		z, err := zstd.NewReader(bytes.NewReader(body), zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(zstdWindow))
		if err != nil {
			return nil, broken(err)
		}
		defer z.Close()
		from = z
	} else {
		z, err := gzip.NewReader(bytes.NewReader(body))
		if err != nil {
			return nil, broken(err)
		}
		from = z
	}
	const step = 64 << 10
	in := sh.bytes
	var plain []byte
	for {
		if err := sh.grow(r.Context(), in+int64(len(plain)+step)*parsedCopies); err != nil {
			return nil, err
		}
		plain = grow(plain, step, -1, a.limits.Body)
		n, err := from.Read(plain[len(plain) : len(plain)+step])
		plain = plain[:len(plain)+n]
		switch {
		case int64(len(plain)) > a.limits.Body:
			return nil, a.tooLarge()
		case errors.Is(err, io.EOF):
			return plain, nil
		case err != nil:
			return nil, broken(err)
		}
	}
}

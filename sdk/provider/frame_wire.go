package provider

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strings"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
)

// Payloads of the frames. A payload with a head is u32 length of the head, the
// head (JSON), and the rest as it is.

// upReqHead is the head of UP_REQ. The embedded Upstream is nil when no HTTP
// request is to be made.
type upReqHead struct {
	*Upstream
	None   bool // no HTTP at all
	Embeds bool // the Exchange is an EmbedDecoder
	Counts bool // the Exchange is a CountDecoder
}

// appendUpHead appends an UP_HEAD payload.
func appendUpHead(dst []byte, status int, header http.Header) []byte {
	h := beginObject(dst)
	h.number("status", status)
	h.header("header", header)
	return h.end()
}

func parseUpHead(b []byte) (r Reply, err error) {
	var h headReader
	if err := h.object(b); err != nil {
		return r, err
	}
	defer h.close()
	r.Status, r.Header = h.number("status"), h.header("header")
	return r, h.fault
}

// upEOF is the payload of UP_EOF; empty for a reply that ended in good order.
type upEOF struct {
	Cut   string          `json:"cut"`             // why the reply ended early
	Error *apierror.Error `json:"error,omitempty"` // the same with its code, when the gateway knows one
}

// maxCut bounds the text that says why a reply was cut.
const maxCut = 1 << 10

// appendCut returns the payload of UP_EOF for a body that ended in err.
func appendCut(err error) []byte {
	if err == io.EOF {
		return nil
	}
	var eof upEOF
	if e, ok := errors.AsType[*apierror.Error](err); ok {
		eof.Error = e
		eof.Cut = e.Message
	} else {
		eof.Cut = err.Error()
	}
	eof.Cut = strings.ToValidUTF8(eof.Cut[:min(len(eof.Cut), maxCut)], "")
	b, err := json.Marshal(eof)
	if err != nil { // cannot be: strings and numbers only
		return []byte(`{"cut":"the reply was cut"}`)
	}
	return b
}

// parseCut returns how a body ends: io.EOF, or the error of a cut one.
func parseCut(b []byte) error {
	if len(b) == 0 {
		return io.EOF
	}
	var eof upEOF
	if err := json.Unmarshal(b, &eof); err != nil {
		return &frameError{"end of reply: " + err.Error()}
	}
	if eof.Error != nil {
		return eof.Error
	}
	return fmt.Errorf("reply cut: %s", eof.Cut)
}

type embedHead struct {
	Vectors    int             `json:"vectors"`
	Dimensions int             `json:"dimensions"`
	Usage      json.RawMessage `json:"usage,omitempty"`
}

type countBody struct {
	Tokens int64 `json:"tokens"`
}

// withHead returns the first part of a payload with a head.
func withHead(head any) ([]byte, error) {
	j, err := json.Marshal(head)
	if err != nil {
		return nil, err
	}
	return append(binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(j)), uint32(len(j))), j...), nil
}

// splitHead reads a payload with a head; the rest shares its memory.
func splitHead(b []byte, head any) (rest []byte, err error) {
	if len(b) < 4 {
		return nil, &frameError{"payload is shorter than the length of its head"}
	}
	n := binary.BigEndian.Uint32(b)
	if uint64(n) > uint64(len(b)-4) {
		return nil, &frameError{fmt.Sprintf("head claims %d of %d bytes", n, len(b)-4)}
	}
	if err := json.Unmarshal(b[4:4+n], head); err != nil {
		return nil, &frameError{"head: " + err.Error()}
	}
	return b[4+n:], nil
}

// appendTurn appends a REQ payload.
func appendTurn(dst []byte, t Turn) ([]byte, error) {
	h := beginHead(dst)
	h.str("op", string(t.Op))
	h.key("account")
	h.b = append(h.b, `{"name":`...)
	h.b = openresponses.AppendString(h.b, t.Account.Name)
	if len(t.Account.Settings) > 0 {
		h.b = append(append(h.b, `,"settings":`...), t.Account.Settings...)
	}
	h.b = append(h.b, '}')
	h.str("model", t.Model)
	h.header("carry", t.Carry)
	h.flag("short", true) // this gateway knows eventShort
	dst = h.end()
	switch {
	case t.Embed != nil:
		body, err := json.Marshal(t.Embed)
		return append(dst, body...), err
	case t.Request != nil:
		return t.Request.AppendJSON(dst), nil
	}
	return dst, nil
}

// parseTurn reads a REQ payload, and keeps nothing of it. short tells that
// events may leave out texts.
func parseTurn(b []byte) (t Turn, short bool, err error) {
	var h headReader
	body, err := h.head(b)
	if err != nil {
		return Turn{}, false, err
	}
	t.Op, t.Model, t.Carry, short = Op(h.str("op")), h.str("model"), h.header("carry"), h.flag("short")
	account := h.within("account")
	t.Account = Account{h.text("name", account.get("name")), raw(account.get("settings"))}
	h.close()
	switch {
	case h.fault != nil:
		return Turn{}, false, h.fault
	case len(body) == 0:
		return t, short, nil
	}
	if t.Op == Embed {
		t.Embed = new(EmbedRequest)
		if err := json.Unmarshal(body, t.Embed); err != nil {
			return Turn{}, false, &frameError{"embed request: " + err.Error()}
		}
		return t, short, nil
	}
	t.Request, err = openresponses.ReadRequest(body)
	return t, short, err
}

// appendUpReq appends the head of an UP_REQ payload, and gives the rest.
func appendUpReq(dst []byte, ex Exchange) (head, body []byte) {
	_, embeds := ex.(EmbedDecoder)
	_, counts := ex.(CountDecoder)
	h := beginHead(dst)
	if up := ex.Upstream(); up != nil {
		h.str("method", up.Method)
		h.str("path", up.Path)
		h.opt("query", up.Query)
		h.header("header", up.Header)
		h.flag("stream", up.Stream)
		h.strs("lost", up.Lost)
		body = up.Body
	} else {
		h.flag("none", true)
	}
	h.flag("embeds", embeds)
	h.flag("counts", counts)
	return h.end(), body
}

// parseUpReq reads an UP_REQ payload; the body shares its memory.
func parseUpReq(b []byte) (up upReqHead, err error) {
	var h headReader
	body, err := h.head(b)
	if err != nil {
		return up, err
	}
	defer h.close()
	up.None, up.Embeds, up.Counts = h.flag("none"), h.flag("embeds"), h.flag("counts")
	if !up.None {
		up.Upstream = &Upstream{
			Method: h.str("method"), Path: h.str("path"), Query: h.str("query"), Header: h.header("header"),
			Stream: h.flag("stream"), Lost: h.strs("lost"), Body: body,
		}
	}
	return up, h.fault
}

// appendVectors returns the two parts of an EMBED payload: numbers are IEEE 754
// single precision, little-endian, vector after vector.
func appendVectors(vs [][]float32, u *openresponses.Usage) (head, body []byte, err error) {
	h := embedHead{Vectors: len(vs)}
	if len(vs) > 0 {
		h.Dimensions = len(vs[0])
	}
	if u != nil {
		if h.Usage, err = json.Marshal(u); err != nil {
			return nil, nil, err
		}
	}
	body = make([]byte, 0, 4*h.Vectors*h.Dimensions)
	for i, v := range vs {
		if len(v) != h.Dimensions {
			return nil, nil, apierror.New(apierror.UpstreamFailed,
				"The provider sent vectors of different lengths: %d numbers in the first and %d in number %d.", h.Dimensions, len(v), i+1)
		}
		for _, f := range v {
			body = binary.LittleEndian.AppendUint32(body, math.Float32bits(f))
		}
	}
	head, err = withHead(h)
	return head, body, err
}

func parseVectors(b []byte) ([][]float32, *openresponses.Usage, error) {
	var h embedHead
	body, err := splitHead(b, &h)
	if err != nil {
		return nil, nil, err
	}
	if h.Vectors < 0 || h.Dimensions < 0 || h.Dimensions > len(body) || h.Vectors > len(body) || 4*h.Vectors*h.Dimensions != len(body) {
		return nil, nil, &frameError{fmt.Sprintf("%d vectors of %d numbers in %d bytes", h.Vectors, h.Dimensions, len(body))}
	}
	var usage *openresponses.Usage
	if len(h.Usage) > 0 {
		usage = new(openresponses.Usage)
		if err := json.Unmarshal(h.Usage, usage); err != nil {
			return nil, nil, &frameError{"usage: " + err.Error()}
		}
	}
	vs := make([][]float32, h.Vectors)
	for i := range vs {
		vs[i] = make([]float32, h.Dimensions)
		for k := range vs[i] {
			vs[i][k] = math.Float32frombits(binary.LittleEndian.Uint32(body))
			body = body[4:]
		}
	}
	return vs, usage, nil
}

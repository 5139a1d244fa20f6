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

type reqHead struct {
	Op      Op          `json:"op"`
	Account Account     `json:"account"`
	Model   string      `json:"model"`
	Carry   http.Header `json:"carry,omitempty"`
	Short   bool        `json:"short,omitempty"` // the gateway knows eventShort
}

// upReqHead is the head of UP_REQ. The embedded Upstream is nil when no HTTP
// request is to be made.
type upReqHead struct {
	*Upstream
	None   bool `json:"none,omitempty"`   // no HTTP at all
	Embeds bool `json:"embeds,omitempty"` // the Exchange is an EmbedDecoder
	Counts bool `json:"counts,omitempty"` // the Exchange is a CountDecoder
}

type upHead struct {
	Status int         `json:"status"`
	Header http.Header `json:"header,omitempty"`
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
	head, err := withHead(reqHead{t.Op, t.Account, t.Model, t.Carry, true})
	if err != nil {
		return dst, err
	}
	dst = append(dst, head...)
	switch {
	case t.Embed != nil:
		body, err := json.Marshal(t.Embed)
		return append(dst, body...), err
	case t.Request != nil:
		return t.Request.AppendJSON(dst), nil
	}
	return dst, nil
}

// parseTurn reads a REQ payload. short tells that events may leave out texts.
func parseTurn(b []byte) (t Turn, short bool, err error) {
	var h reqHead
	body, err := splitHead(b, &h)
	if err != nil {
		return Turn{}, false, err
	}
	t = Turn{Op: h.Op, Account: h.Account, Model: h.Model, Carry: h.Carry}
	if len(body) == 0 {
		return t, h.Short, nil
	}
	if t.Op == Embed {
		t.Embed = new(EmbedRequest)
		if err := json.Unmarshal(body, t.Embed); err != nil {
			return Turn{}, false, &frameError{"embed request: " + err.Error()}
		}
		return t, h.Short, nil
	}
	t.Request, err = openresponses.ReadRequest(body)
	return t, h.Short, err
}

// appendUpReq returns the two parts of an UP_REQ payload.
func appendUpReq(ex Exchange) (head, body []byte, err error) {
	_, embeds := ex.(EmbedDecoder)
	_, counts := ex.(CountDecoder)
	up := ex.Upstream()
	if up != nil {
		body = up.Body
	}
	head, err = withHead(upReqHead{Upstream: up, None: up == nil, Embeds: embeds, Counts: counts})
	return head, body, err
}

func parseUpReq(b []byte) (upReqHead, error) {
	h := upReqHead{Upstream: new(Upstream)}
	body, err := splitHead(b, &h)
	if err != nil {
		return h, err
	}
	if h.None {
		h.Upstream = nil
		return h, nil
	}
	h.Upstream.Body = body
	return h, nil
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

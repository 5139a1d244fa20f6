package usage

import (
	"io"
	"os"
	"sync"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

// DefaultPayloadMax is how many bytes of a request, and of a reply, are kept
// when Start does not say, and the most that may be.
const DefaultPayloadMax = 10 << 20

// replyInMemory is how many bytes of a reply a Payload holds in memory; the
// rest goes to a file.
const replyInMemory = 1 << 20

const spillPrefix = "payload-"

// What logging_error_codes may hold.
const (
	requestTooLarge  = "MAX_REQUEST_SIZE_EXCEEDED"
	responseTooLarge = "MAX_RESPONSE_SIZE_EXCEEDED"
	requestNotKept   = "REQUEST_NOT_KEPT" // no room in memory or on the disk; only its beginning is there
	responseNotKept  = "RESPONSE_NOT_KEPT"
)

// Payload gathers the request and the reply of a call for its payload table. A
// nil one keeps nothing.
type Payload struct {
	max int
	dir string // of the spill file

	mu      sync.Mutex
	request []byte // the caller's
	cut     bool   // request was longer
	reply   []byte // its first replyInMemory bytes
	spilled int64  // bytes of file
	file    *os.File
	over    bool // the reply was longer than max
	lost    bool // the file could not be written
	closed  bool
}

func newPayload(most int64, dir string) *Payload {
	if most <= 0 || most > DefaultPayloadMax {
		most = DefaultPayloadMax
	}
	return &Payload{max: int(most), dir: dir}
}

// Request takes the request. It keeps b, which must not change until the call
// has ended.
func (p *Payload) Request(b []byte) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	p.request, p.cut = b, false
	if len(b) > p.max {
		p.request, p.cut = cutBytes(b, p.max), true
	}
}

// Write adds to the reply. It never fails: what cannot be kept is named in the
// row's logging_error_codes. After the end of the call it does nothing.
func (p *Payload) Write(b []byte) (int, error) {
	if p == nil {
		return len(b), nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.over || p.lost {
		return len(b), nil
	}
	rest := b
	if room := p.max - len(p.reply) - int(p.spilled); len(rest) > room {
		rest, p.over = rest[:room], true
	}
	if room := min(replyInMemory, p.max) - len(p.reply); room > 0 && p.file == nil {
		n := min(room, len(rest))
		p.reply = append(p.reply, rest[:n]...)
		rest = rest[n:]
	}
	if len(rest) > 0 {
		p.spill(rest)
	}
	return len(b), nil
}

// spill adds b to the file. The file has no name: when the process ends, the
// system takes it away.
func (p *Payload) spill(b []byte) {
	if p.file == nil {
		f, err := os.CreateTemp(p.dir, spillPrefix+"*") // mode 0600
		if err != nil {
			p.lost = true
			return
		}
		if err := os.Remove(f.Name()); err != nil {
			f.Close()
			p.lost = true
			return
		}
		p.file = f
	}
	n, err := p.file.Write(b)
	p.spilled += int64(n)
	if err != nil {
		p.lost = true
	}
}

// close ends the gathering and lets the spill file go. Callers hold what they
// have taken.
func (p *Payload) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	if p.file != nil {
		p.file.Close()
		p.file = nil
	}
	p.request, p.reply = nil, nil
}

// size is about how many bytes the record takes, and whether that is much:
// more than what a Payload may hold in memory anyway.
func (p *Payload) size() (n int64, large bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n = int64(len(p.request)+len(p.reply)) + p.spilled
	return n, n > replyInMemory
}

// payloadRow is a row of a payload table, but for request and response while
// it is being written: those are too large to be copied about.
type payloadRow struct {
	EventTime        int64             `delta:"event_time" wire:"1"` // µs since 1970
	RequestID        string            `delta:"request_id,omitzero" wire:"2"`
	InvocationID     string            `delta:"invocation_id" wire:"3"`
	RequestTags      map[string]string `delta:"request_tags" wire:"4"`
	StatusCode       int32             `delta:"status_code,omitzero" wire:"5"`
	SamplingFraction float64           `delta:"sampling_fraction" wire:"6"`
	LatencyMS        *int64            `delta:"latency_ms" wire:"7"`
	FirstByteMS      *int64            `delta:"time_to_first_byte_ms" wire:"8"`
	Request          string            `delta:"request" wire:"9"`
	Response         string            `delta:"response" wire:"10"`
	DestinationType  string            `delta:"destination_type,omitzero" wire:"11"`
	DestinationName  string            `delta:"destination_name,omitzero" wire:"12"`
	DestinationModel string            `delta:"destination_model,omitzero" wire:"13"`
	LoggingErrors    []string          `delta:"logging_error_codes" wire:"14"`
	Requester        string            `delta:"requester,omitzero" wire:"15"`
	SchemaVersion    int32             `delta:"schema_version" wire:"16"`
	URL              string            `delta:"url,omitzero" wire:"17"`
	APIType          string            `delta:"api_type,omitzero" wire:"18"`
	Status           string            `delta:"status" wire:"19"`
	EndpointName     string            `delta:"endpoint_name,omitzero" wire:"20"`
	SessionID        string            `delta:"session_id,omitzero" wire:"21"`
	EventDate        int32             `delta:"event_date" wire:"22"` // days since 1970
}

const (
	wireRequest  protowire.Number = 9
	wireResponse protowire.Number = 10
)

var payloadMessage = messageOf[payloadRow]()

func decodePayload(b []byte) (*payloadRow, error) {
	r, err := decodeMessage[payloadRow](b, payloadMessage)
	if err != nil {
		return nil, err
	}
	if r.RequestTags == nil {
		r.RequestTags = noTags
	}
	if r.LoggingErrors == nil {
		r.LoggingErrors = noTexts
	}
	return r, nil
}

// record is the ledger's record of the payload row of a call with the usage
// row r, behind header. Unless all is wanted, no more than the beginning goes
// into it of what is large.
func (p *Payload) record(header []byte, r *row, all bool) []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	x := payloadRow{
		EventTime: r.EventTime, EventDate: r.EventDate, RequestID: r.RequestID, InvocationID: r.InvocationID, RequestTags: r.RequestTags,
		StatusCode: r.StatusCode, SamplingFraction: 1, LatencyMS: r.LatencyMS, FirstByteMS: r.FirstByteMS,
		DestinationType: r.DestinationType, DestinationName: r.DestinationName, DestinationModel: r.DestinationModel,
		Requester: r.Requester, SchemaVersion: payloadVersion, URL: r.URL, APIType: r.APIType,
		Status: r.Status, EndpointName: r.EndpointName, SessionID: r.SessionID,
	}
	request, spilled := p.request, p.spilled
	if !all {
		request, spilled = cutBytes(request, replyInMemory), 0
	}
	b := append(make([]byte, 0, len(header)+len(request)+len(p.reply)+int(spilled)+4096), header...)
	b = protowire.AppendBytes(protowire.AppendTag(b, wireRequest, protowire.BytesType), request)
	b, whole := p.appendReply(b, spilled)
	if len(request) < len(p.request) {
		x.LoggingErrors = append(x.LoggingErrors, requestNotKept)
	}
	if p.cut {
		x.LoggingErrors = append(x.LoggingErrors, requestTooLarge)
	}
	if p.over {
		x.LoggingErrors = append(x.LoggingErrors, responseTooLarge)
	}
	if !whole {
		x.LoggingErrors = append(x.LoggingErrors, responseNotKept)
	}
	return appendMessage(b, payloadMessage, &x)
}

// appendReply adds the reply to b, with the first bytes of the file, and
// reports whether that is all that was to be kept of it.
func (p *Payload) appendReply(b []byte, spilled int64) (_ []byte, whole bool) {
	start := len(b)
	// The length goes before the bytes, and is that of the longest reply there
	// may be until the file has been read and cut.
	n := len(p.reply) + int(spilled)
	b = protowire.AppendVarint(protowire.AppendTag(b, wireResponse, protowire.BytesType), uint64(n))
	text := len(b)
	b = append(b, p.reply...)
	whole = !p.lost && spilled == p.spilled
	if spilled > 0 {
		b = b[:text+n] // record has made room
		if _, err := io.ReadFull(io.NewSectionReader(p.file, 0, spilled), b[text+len(p.reply):]); err != nil {
			b, whole = b[:text+len(p.reply)], false
		}
	}
	if p.over || !whole {
		b = b[:text+len(trimPartial(b[text:]))]
	}
	if got := len(b) - text; got != n {
		reply := b[text:]
		b = protowire.AppendVarint(protowire.AppendTag(b[:start], wireResponse, protowire.BytesType), uint64(got))
		b = append(b, reply...) // moves it to the left by what the length is shorter now, if at all
	}
	return b, whole
}

// cutBytes is the first n bytes of b without a character that is split by it.
func cutBytes(b []byte, n int) []byte {
	if len(b) <= n {
		return b
	}
	return trimPartial(b[:n])
}

// trimPartial is b without a character at its end that is not all there.
func trimPartial(b []byte) []byte {
	for i := len(b) - 1; i >= 0 && i >= len(b)-utf8.UTFMax; i-- {
		if utf8.RuneStart(b[i]) {
			if !utf8.FullRune(b[i:]) {
				return b[:i]
			}
			break
		}
	}
	return b
}

package render

import (
	"strings"

	"github.com/google/uuid"

	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
)

// Kind says who runs an action, and so how it may be shown.
type Kind int

// The kinds. The zero Kind is a function that the client runs itself.
const (
	Client Kind = iota
	Hosted
	MCP
	Code
	WebSearch
)

// Approval is where an action stands with the person who may have to agree.
type Approval int

// The stages of an approval.
const (
	NotNeeded Approval = iota
	Asked              // the run ends and waits for the client's answer
	Granted
	Refused
)

// Record is the neutral form of one action: what history is parsed into, what
// the loop works on, and what is rendered.
type Record struct {
	CallID    string
	Name      string // as the model calls it
	Label     string // the tool type or connection behind it; "" for a client function
	Kind      Kind
	Arguments string // JSON text as the model wrote it
	Status    string // in_progress, completed, failed
	Output    openresponses.Output
	Sources   []Source // of a web search
	Approval  Approval
}

// Source is a place a web search found.
type Source struct{ URL, Title string }

// OutputText is the whole output as one text; parts that are no text are left
// out.
func (r *Record) OutputText() string {
	if r.Output.Parts == nil {
		return r.Output.Text
	}
	var b strings.Builder
	for i := range r.Output.Parts {
		if t := r.Output.Parts[i].Text; t != "" {
			if b.Len() > 0 {
				b.WriteByte('\n')
			}
			b.WriteString(t)
		}
	}
	return b.String()
}

// NewID makes an id of at most 64 characters that sorts by time: the prefix
// ("resp_", "msg_", …) and a version 7 UUID in hexadecimal.
func NewID(prefix string) string {
	u, err := uuid.NewV7()
	if err != nil { // the system has no randomness: nothing else works either
		u = uuid.New()
	}
	var b [32]byte
	const digits = "0123456789abcdef"
	for i, c := range u {
		b[2*i], b[2*i+1] = digits[c>>4], digits[c&15]
	}
	return prefix + string(b[:])
}

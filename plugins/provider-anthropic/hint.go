package main

import (
	"encoding/json"
	"strconv"

	or "github.com/sallyport-gateway/sallyport/sdk/openresponses"
)

// hintName is the member of Request.Extra in which our front tells our
// translator what the inner language has no words for. Other translators know
// nothing of it and lose nothing by that.
const hintName = "anthropic"

// hint is what a client said exactly, where the request says it nearly.
type hint struct {
	Thinking string `json:"thinking,omitempty"` // type of thinking
	Budget   int64  `json:"budget_tokens,omitempty"`
	Effort   string `json:"effort,omitempty"`  // max, which is beyond xhigh
	UserID   string `json:"user_id,omitempty"` // metadata.user_id
	Billing  string `json:"billing,omitempty"` // a first system block that is for Anthropic's books and not for the model
}

// put adds the hint to r, if it says anything.
func (h hint) put(r *or.Request) {
	if h == (hint{}) {
		return
	}
	b := append(make([]byte, 0, 128+len(h.UserID)+len(h.Billing)), '{')
	member := func(name string) {
		if len(b) > 1 {
			b = append(b, ',')
		}
		b = append(append(append(b, '"'), name...), `":`...)
	}
	text := func(name, s string) {
		if s != "" {
			member(name)
			b = or.AppendString(b, s)
		}
	}
	text("thinking", h.Thinking)
	if h.Budget != 0 {
		member("budget_tokens")
		b = strconv.AppendInt(b, h.Budget, 10)
	}
	text("effort", h.Effort)
	text("user_id", h.UserID)
	text("billing", h.Billing)
	r.Extra = append(r.Extra, or.Member{Name: hintName, Value: append(b, '}')})
}

// hintOf reads the hint of r. Whatever a client may have written there itself
// counts as far as it fits.
func hintOf(r *or.Request) hint {
	var h hint
	if raw := r.ExtraMember(hintName); len(raw) == 0 || json.Unmarshal(raw, &h) != nil {
		return hint{}
	}
	return h
}

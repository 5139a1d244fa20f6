package main

import (
	"encoding/json"

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
	b, _ := json.Marshal(h) // strings and numbers cannot fail
	r.Extra = append(r.Extra, or.Member{Name: hintName, Value: b})
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

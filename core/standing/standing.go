// Package standing is what GET /me says of a caller's limits and budgets. The
// gateway writes it and the command line reads it, so the names in it are
// written down here and nowhere else.
package standing

import "time"

// Standing is how a caller stands: the limits and budgets that count for them.
type Standing struct {
	Limits  []Limit  `json:"limits"`
	Budgets []Budget `json:"budgets"`
}

// Limit is one limit as it counts for a caller. Each, Of, Op, Per and Count are
// as it was configured.
type Limit struct {
	Model    string   `json:"model"`
	Each     string   `json:"each"`
	Of       string   `json:"of"`    // Each and Of are empty for a limit on all traffic
	Scope    string   `json:"scope"` // whose count it is: "all traffic", "user alice@example.com", "group analysts", "tag team=search"
	Op       string   `json:"op"`
	Per      string   `json:"per"`
	Count    []string `json:"count,omitempty"`    // absent means that all tokens count
	Requests *Amount  `json:"requests,omitempty"` // absent where requests are not bounded
	Tokens   *Amount  `json:"tokens,omitempty"`   // absent where tokens are not bounded
	// Resets is when all that is used now will have left the window, if nothing
	// is added; absent when nothing is used.
	Resets *time.Time `json:"resets,omitempty"`
}

// Amount is how much of a bound is used.
type Amount struct {
	Limit int64 `json:"limit"`
	Used  int64 `json:"used"` // with what calls under way hold; may be above Limit while a debt is paid
	Left  int64 `json:"left"` // never below 0
}

// Budget is one budget as it counts for a caller. Each, Of, Per and Then are as
// it was configured. Money is in USD.
type Budget struct {
	Each   string    `json:"each"`
	Of     string    `json:"of"`
	Scope  string    `json:"scope"` // whose account it is: "user alice@example.com", "group analysts", "model databricks-gpt-5-2"
	USD    float64   `json:"usd"`
	Spent  float64   `json:"spent"` // in this period
	Left   float64   `json:"left"`  // never below 0
	Per    string    `json:"per"`
	Then   string    `json:"then"`   // block or alert
	Resets time.Time `json:"resets"` // when the next period begins
}

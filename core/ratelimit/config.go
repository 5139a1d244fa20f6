package ratelimit

import (
	"github.com/sallyport-gateway/sallyport/core/secret"
)

// Config is the operator's limits and budgets.
type Config struct {
	Models  map[string][]Limit // limits by the model's name; a model without limits may be left out
	Budgets []Budget
	// Known are the names of all models, so that a budget of one that does not
	// exist is an error; nil leaves that open.
	Known []string
}

// Limit bounds the calls of one model: how many, or how many tokens, within any
// minute or hour. With neither Each nor Of it bounds all calls of the model.
type Limit struct {
	// Each gives everybody a count of their own: "user", "service_principal",
	// "principal" for both, or "tag NAME" for each value of that request tag.
	Each string `yaml:"each"`
	// Of makes one count of "user NAME", "service_principal NAME", "group NAME"
	// (shared by the group's members) or "tag NAME=VALUE".
	Of string `yaml:"of"`

	Requests int64    `yaml:"requests"` // 0 leaves them unbounded
	Tokens   int64    `yaml:"tokens"`   // 0 leaves them unbounded
	Per      string   `yaml:"per"`      // minute or hour
	Count    []string `yaml:"count"`    // which tokens, of Kinds; empty means all

	// Reserve says how many tokens a call holds until its usage is known. "" is
	// an estimate: a quarter of the request's bytes as input, of which the latest
	// calls of this caller and model tell how much comes from a cache, and as
	// output max_tokens or, if that is less, what nine in ten of those calls
	// stayed within. "max" is the most it can use: twice that input, none of it
	// from a cache, and max_tokens; a call for which the limit can never have
	// room is then refused for good.
	Reserve string `yaml:"reserve"`
	// Op is which calls are meant: "" those that a model answers, also with
	// vectors, "count_tokens" those that only count.
	Op string `yaml:"op"`
}

// Kinds are what Limit.Count may hold. Every token is of one kind: input is
// what was neither read from a cache nor written to one, cache_write is what
// was written to any cache, and cache_write_1h the part of it that is kept for
// an hour. Output is without reasoning where the provider tells them apart.
var Kinds = []string{"input", "output", "cache_read", "cache_write", "cache_write_1h", "reasoning"}

// Bounds on the limits of one model. Source: Databricks, AI Gateway rate limits.
const (
	MaxLimits      = 20
	MaxGroupLimits = 5
)

// CountRequests is how many calls a minute may count tokens, for each principal
// and model, where no limit with Op count_tokens says otherwise.
const CountRequests = 600

// Budget bounds what calls may cost. Exactly one of Each and Of is set.
type Budget struct {
	// Each gives everybody an account of their own: "user", "service_principal",
	// "principal" for both, "group" or "model".
	Each string `yaml:"each"`
	// Of makes one account of "user NAME", "service_principal NAME", "group NAME"
	// or "model NAME".
	Of  string  `yaml:"of"`
	USD float64 `yaml:"usd"` // above 0, with at most six digits behind the point
	Per string  `yaml:"per"` // day, week or month: of the calendar, in UTC; weeks begin on Monday
	// Alert is at how many per cent of it a line goes to the log and a message to
	// the webhook, once in a period for each. Absent means at 100, and an empty list
	// never.
	Alert []int  `yaml:"alert"`
	Then  string `yaml:"then"` // at 100 per cent: block (the default) or alert

	Webhook *Webhook `yaml:"webhook"` // that hears of alerts; nil means none
}

// Webhook is an address to which alerts are posted, as JSON: see Alert.
type Webhook struct {
	URL     string       `yaml:"url"`     // http or https
	Private bool         `yaml:"private"` // its name may resolve to addresses in a private network
	Header  string       `yaml:"header"`  // that carries Key; "" means Authorization, as a bearer token
	Key     secret.Value `yaml:"key"`     // none if not set
}

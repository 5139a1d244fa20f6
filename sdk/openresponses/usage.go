package openresponses

// Usage counts the tokens of one or more turns. The fields are disjoint: every
// token is in exactly one of them. Totals are derived.
type Usage struct {
	Input        int64 // read by the model, not from a cache and not into one
	CacheRead    int64 // input served from the provider's cache
	CacheWrite   int64 // input written to the provider's 5-minute cache
	CacheWrite1h int64 // input written to the provider's 1-hour cache
	Output       int64 // written by the model, reasoning apart
	Reasoning    int64 // written by the model as reasoning
	Estimated    bool  // counted by the gateway, not said by the provider
}

// InputTotal is all the input: what the wire calls input_tokens.
func (u Usage) InputTotal() int64 { return u.Input + u.CacheRead + u.CacheWrite + u.CacheWrite1h }

// OutputTotal is all the output: what the wire calls output_tokens.
func (u Usage) OutputTotal() int64 { return u.Output + u.Reasoning }

// Total is input and output together.
func (u Usage) Total() int64 { return u.InputTotal() + u.OutputTotal() }

// Add sums the counts of two turns; the sum is estimated when either was.
func (u Usage) Add(v Usage) Usage {
	return Usage{
		Input: u.Input + v.Input, CacheRead: u.CacheRead + v.CacheRead,
		CacheWrite: u.CacheWrite + v.CacheWrite, CacheWrite1h: u.CacheWrite1h + v.CacheWrite1h,
		Output: u.Output + v.Output, Reasoning: u.Reasoning + v.Reasoning,
		Estimated: u.Estimated || v.Estimated,
	}
}

package usage

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/sallyport-gateway/sallyport/core/delta"
	"github.com/sallyport-gateway/sallyport/core/tables"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/provider"
)

// Record is what limits and budgets need to know of a row of a model call.
type Record struct {
	Time             time.Time // when the call began, UTC
	Op               provider.Op
	Model            string // as clients name it in this gateway
	Requester        string
	ServicePrincipal bool
	Groups           []string          // of the requester; records share it
	Tags             map[string]string // of the request; nil for none
	Usage            openresponses.Usage
	CostPico         int64 // USD of 1e-12; 0 when it is not known
	Status           string
}

// The columns of a Record, in the order in which Rows reads them. Those from
// details on are only read of calls of which more is wanted than their cost.
const (
	atTime = iota
	atOp
	atModel
	atRequester
	atType
	atGroups
	atCost
	atStatus
	details
)

const (
	atTags = iota + details
	atUncached
	atRead
	atWrite5m
	atWrite1h
	atOutput
	atReasoning
)

var recordColumns = []string{
	atTime: "event_time", atOp: "operation", atModel: "endpoint_name", atRequester: "requester", atType: "requester_type",
	atGroups: "requester_groups", atCost: "cost_usd", atStatus: "status",
	atTags: "request_tags", atUncached: "uncached_input_tokens", atRead: "token_details.cache_read_input_tokens",
	atWrite5m: "cache_write_5m_tokens", atWrite1h: "cache_write_1h_tokens",
	atOutput: "output_tokens", atReasoning: "token_details.output_reasoning_tokens",
}

// Rows gives the model calls that began at since or later, in no order: those of
// the usage table, after it has taken what the ledger still holds for it. If it
// cannot, the rows that it has come first and then the error. Tags and Usage may
// be missing in those that began before whole. Only the days and columns that
// are needed are read.
func Rows(ctx context.Context, set *tables.Set, since, whole time.Time) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		stale := set.Fresh(ctx, UsageTable)
		dir, ok := set.Locations()[UsageTable]
		if !ok {
			yield(Record{}, fmt.Errorf("usage: there is no table %s", UsageTable))
			return
		}
		s, err := delta.Open(ctx, dir)
		if err != nil {
			yield(Record{}, fmt.Errorf("usage: %w", err))
			return
		}
		if whole.Before(since) {
			whole = since
		}
		first, from := date(since), date(whole)
		least := since.UnixMicro()
		for _, sel := range []delta.Selection{
			{Columns: recordColumns[:details], Files: func(f delta.File) bool {
				d, ok := f.Partition["event_date"]
				return ok && d >= first && d < from
			}},
			{Columns: recordColumns, Files: func(f delta.File) bool {
				d, ok := f.Partition["event_date"]
				return !ok || d >= from
			}},
		} {
			sel.Least, sel.Min = "event_time", least
			for b, err := range s.Scan(ctx, sel) {
				if err != nil {
					yield(Record{}, fmt.Errorf("usage: %w", err))
					return
				}
				c := b.Columns
				for i := range b.Rows {
					if c[atTime].Int(i) < least || c[atModel].Text(i) == "" {
						continue
					}
					if !yield(record(c, i), nil) {
						return
					}
				}
			}
		}
		if stale != nil {
			yield(Record{}, fmt.Errorf("usage: the newest calls are not in the table yet: %w", stale))
		}
	}
}

func record(c []delta.Values, i int) Record {
	r := Record{
		Time: time.UnixMicro(c[atTime].Int(i)).UTC(), Op: provider.Op(c[atOp].Text(i)), Model: c[atModel].Text(i),
		Requester: c[atRequester].Text(i), ServicePrincipal: c[atType].Text(i) == servicePrincipal,
		Groups: c[atGroups].List(i), CostPico: c[atCost].Int(i), Status: c[atStatus].Text(i),
	}
	if len(c) > details {
		r.Tags = c[atTags].Map(i)
		r.Usage = openresponses.Usage{
			Input: c[atUncached].Int(i), CacheRead: c[atRead].Int(i), CacheWrite: c[atWrite5m].Int(i), CacheWrite1h: c[atWrite1h].Int(i),
			Output: c[atOutput].Int(i) - c[atReasoning].Int(i), Reasoning: c[atReasoning].Int(i),
		}
	}
	if r.Op == "" { // of a row that is older than the column
		r.Op = provider.Generate
	}
	return r
}

// date is the day of t as the table's partitions are named.
func date(t time.Time) string { return t.UTC().Format(time.DateOnly) }

package usage

import (
	"cmp"
	"time"

	"github.com/sallyport-gateway/sallyport/core/delta"
	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/provider"
)

// externalModel is the destination_type of every destination here: a model that
// somebody else serves. Source: Databricks, ModelService destination types.
const externalModel = "EXTERNAL_FOUNDATION_MODEL"

// servicePrincipal is the requester_type of callers that are no users.
const servicePrincipal = "SERVICE_PRINCIPAL"

// maxTokens bounds a token count that a provider says, so that sums stay in
// 64 bits.
const maxTokens = 1e15

// draft is a row that is being made, in one piece of memory with what its
// pointers usually point to.
type draft struct {
	row
	room struct {
		input, output, total, uncached, write5m, write1h int64
		details                                          tokenDetails
		latency, firstByte                               int64
		toolCalls                                        int32
		routing                                          routing
		attempts                                         [2]attempt
		invocation                                       invocation
		endpoint                                         endpointMetadata
		price                                            rates
		cost                                             delta.Unscaled
	}
}

// begin makes r, which is zero, the row that stands if the call never ends.
func (r *draft) begin(s *Start, c *Config, id string) {
	r.AccountID, r.WorkspaceID, r.SchemaVersion, r.InvocationID = c.AccountID, c.WorkspaceID, schemaVersion, id
	r.Requester, r.RequesterType, r.RequesterGroups = clean(s.Requester, maxName), "USER", cleanList(s.Groups, maxGroups)
	r.Status, r.ErrorCode, r.TokenSource = Interrupted, Interrupted, "none"
	r.at(s.Time)
	if s.ServicePrincipal {
		r.RequesterType = servicePrincipal
	}
	if x := s.Source; x != nil {
		r.RequestID, r.URL, r.APIType = clean(x.RequestID, maxName), cleanURL(x.URL), clean(x.APIType, maxName)
		r.IPAddress, r.UserAgent, r.ContentType = clean(x.IP, maxName), clean(x.UserAgent, maxUserAgent), clean(x.ContentType, maxName)
		r.RequestTags, r.SessionID, r.AgentID = cleanTags(x.Tags), clean(x.Session, maxName), clean(x.Agent, maxName)
		r.CodingTool, r.CodingToolVersion = clean(x.Tool, maxName), clean(x.ToolVersion, maxName)
		r.CodingToolMode, r.TurnID = clean(x.Mode, maxName), clean(x.Turn, maxName)
	}
	if t := s.Service; t != nil {
		r.ServiceType, r.ServiceName = clean(t.Type, maxName), clean(t.Name, maxName)
		r.MCP = &mcp{Method: "tools/call", ToolName: clean(t.Function, maxName), ServerType: clean(t.ToolType, maxName), ClientName: r.CodingTool}
		return
	}
	r.Operation = clean(string(cmp.Or(s.Op, provider.Generate)), maxName)
	r.EndpointName, r.DestinationType = clean(s.Model, maxName), externalModel
	r.DestinationName, r.DestinationModel = clean(s.Provider, maxName), clean(s.DestinationModel, maxName)
	if s.PayloadTable != "" {
		r.room.endpoint.InferenceTable = clean(s.PayloadTable, 3*maxName)
		r.EndpointMetadata = &r.room.endpoint
	}
	r.Routing = &r.room.routing
	u := tokensOf(openresponses.Usage{Input: s.EstimatedInput, Estimated: true})
	r.tokens(u)
	r.price(s.Price)
	if r.Price != nil {
		r.cost(delta.Unscaled(r.Price.cost(u)))
	}
}

// refuse makes r, which is zero, the row of a call that is not made.
func (r *draft) refuse(s *Start, o *Outcome, c *Config, id string) {
	r.begin(s, c, id)
	if o.Status == "" {
		o.Status = Refused
	}
	r.end(o, c.statusOf(s.Source))
	if len(o.Attempts) == 0 {
		r.DestinationType = "" // none was asked
	}
}

// end makes the row that begin made that of a call which has ended. statusOf
// may be nil.
func (r *draft) end(o *Outcome, statusOf func(apierror.Code) int) {
	r.Status, r.ErrorCode = clean(o.Status, maxName), clean(string(o.Code), maxName)
	r.StatusCode = int32(status(o, statusOf))
	r.room.latency = o.Latency.Milliseconds()
	r.LatencyMS = &r.room.latency
	if o.FirstByte > 0 {
		r.room.firstByte = o.FirstByte.Milliseconds()
		r.FirstByteMS = &r.room.firstByte
	}
	r.LostFields = cleanList(o.Lost, maxLost)
	if r.ServiceType != "" {
		return
	}
	r.room.toolCalls = int32(min(max(o.ToolCalls, 0), 1<<30))
	r.ToolCalls = &r.room.toolCalls
	r.DestinationID = clean(o.Served, maxName)
	if o.Tier != "" {
		r.room.invocation.ServiceTier = clean(o.Tier, maxName)
		r.InvocationMetadata = &r.room.invocation
	}
	r.attempts(o.Attempts)
}

// statusOf gives the statuses that the client of a request is answered with.
func (c *Config) statusOf(src *Source) func(apierror.Code) int {
	if src != nil && src.StatusOf != nil {
		return src.StatusOf
	}
	return c.StatusOf
}

// status is the HTTP status that an outcome stands for, 0 when none is known.
func status(o *Outcome, statusOf func(apierror.Code) int) int {
	switch {
	case o.Status == Completed, o.Status == Incomplete:
		return 200
	case o.Status == Canceled:
		return 499
	case statusOf == nil:
		return 0
	case o.Code == "":
		return statusOf(apierror.Internal)
	}
	return statusOf(o.Code)
}

// attempts sets what follows from what was asked upstream: tokens, costs and
// the destination.
func (r *draft) attempts(as []Attempt) {
	if len(as) > maxAttempts { // the last one answered
		as = append(as[:maxAttempts-1:maxAttempts-1], as[len(as)-1])
	}
	if r.Routing.Attempts = r.room.attempts[:min(len(as), len(r.room.attempts))]; len(as) > len(r.room.attempts) {
		r.Routing.Attempts = make([]attempt, len(as))
	}
	var sum openresponses.Usage
	var cost int64
	priced := false // some attempt is
	if len(as) > 1 {
		r.AttemptCosts = make([]attemptCost, len(as))
	}
	for i := range as {
		a := &as[i]
		provider, model := clean(a.Provider, maxName), clean(a.Model, maxName)
		r.Routing.Attempts[i] = attempt{
			Action: clean(a.Action, maxName), Destination: provider + "/" + model,
			StatusCode: int32(min(max(a.Status, 0), 999)), LatencyMS: a.Latency.Milliseconds(),
		}
		u := tokensOf(a.Usage)
		sum = sum.Add(u)
		var own int64
		if a.Price != nil {
			own, priced = a.Price.rates().cost(u), true
			cost = addCost(cost, own)
		}
		if r.AttemptCosts != nil {
			r.AttemptCosts[i] = attemptCost{DestinationName: provider, DestinationModel: model, InputTokens: u.InputTotal(), OutputTokens: u.OutputTotal()}
			if a.Price != nil {
				r.AttemptCosts[i].Cost = new(delta.Unscaled(own))
			}
		}
		r.DestinationName, r.DestinationModel = provider, model // those of the last stay
	}
	r.tokens(sum)
	if len(as) == 0 { // of the price it would have had
		if r.Price != nil {
			r.cost(0)
		}
		return
	}
	r.price(as[len(as)-1].Price)
	if r.Cost = nil; priced {
		r.cost(delta.Unscaled(cost))
	}
}

// tokensOf is u without what cannot be: less than nothing, or more than any
// model reads.
func tokensOf(u openresponses.Usage) openresponses.Usage {
	for _, n := range [...]*int64{&u.Input, &u.CacheRead, &u.CacheWrite, &u.CacheWrite1h, &u.Output, &u.Reasoning} {
		*n = min(max(*n, 0), maxTokens)
	}
	u.Estimated = u.Estimated && u.Total() > 0
	return u
}

func (r *draft) tokens(u openresponses.Usage) {
	switch {
	case u.Total() == 0:
		r.TokenSource = "none"
	case u.Estimated:
		r.TokenSource = "estimated"
	default:
		r.TokenSource = "provider"
	}
	x := &r.room
	x.input, x.output, x.total, x.uncached, x.write5m, x.write1h = u.InputTotal(), u.OutputTotal(), u.Total(), u.Input, u.CacheWrite, u.CacheWrite1h
	r.InputTokens, r.OutputTokens, r.TotalTokens = &x.input, &x.output, &x.total
	r.UncachedTokens, r.CacheWrite5m, r.CacheWrite1h = &x.uncached, &x.write5m, &x.write1h
	x.details = tokenDetails{CacheRead: u.CacheRead, CacheCreation: u.CacheWrite + u.CacheWrite1h, Reasoning: u.Reasoning}
	r.TokenDetails = &x.details
}

func (r *draft) price(p *Price) {
	r.Price = nil
	if p != nil {
		r.room.price = p.rates()
		r.Price = &r.room.price
	}
}

func (r *draft) cost(pico delta.Unscaled) {
	r.room.cost = pico
	r.Cost = &r.room.cost
}

// at sets when the call was made.
func (r *row) at(t time.Time) {
	r.EventTime = t.UnixMicro()
	r.EventDate = day(t)
}

// day is the day of t in UTC, counted from 1970.
func day(t time.Time) int32 {
	s := t.Unix()
	d := s / 86400
	if s%86400 < 0 {
		d--
	}
	return int32(d)
}

package usage

import "github.com/sallyport-gateway/sallyport/core/delta"

// schemaVersion is that of usage rows, and their column schema_version: 2 added
// operation, coding_tool_mode and turn_id.
const schemaVersion = 2

// row is a row of UsageTable: as the table takes it, and by its wire numbers as
// the ledger holds it. What the columns mean is said in usageSchema.
type row struct {
	EventTime          int64             `delta:"event_time" wire:"1"` // µs since 1970
	AccountID          string            `delta:"account_id,omitzero" wire:"2"`
	WorkspaceID        string            `delta:"workspace_id,omitzero" wire:"3"`
	RequestID          string            `delta:"request_id,omitzero" wire:"4"`
	EndpointID         string            `delta:"endpoint_id,omitzero" wire:"5"`
	EndpointName       string            `delta:"endpoint_name,omitzero" wire:"6"`
	EndpointMetadata   *endpointMetadata `delta:"endpoint_metadata" wire:"7"`
	EndpointTags       map[string]string `delta:"endpoint_tags" wire:"8"`
	DestinationType    string            `delta:"destination_type,omitzero" wire:"9"`
	DestinationName    string            `delta:"destination_name,omitzero" wire:"10"`
	DestinationID      string            `delta:"destination_id,omitzero" wire:"11"`
	DestinationModel   string            `delta:"destination_model,omitzero" wire:"12"`
	Requester          string            `delta:"requester,omitzero" wire:"13"`
	RequesterType      string            `delta:"requester_type,omitzero" wire:"14"`
	IPAddress          string            `delta:"ip_address,omitzero" wire:"15"`
	URL                string            `delta:"url,omitzero" wire:"16"`
	UserAgent          string            `delta:"user_agent,omitzero" wire:"17"`
	APIType            string            `delta:"api_type,omitzero" wire:"18"`
	SchemaVersion      int32             `delta:"schema_version" wire:"19"`
	RequestTags        map[string]string `delta:"request_tags" wire:"20"`
	InputTokens        *int64            `delta:"input_tokens" wire:"21"`
	OutputTokens       *int64            `delta:"output_tokens" wire:"22"`
	TotalTokens        *int64            `delta:"total_tokens" wire:"23"`
	TokenDetails       *tokenDetails     `delta:"token_details" wire:"24"`
	LatencyMS          *int64            `delta:"latency_ms" wire:"25"`
	FirstByteMS        *int64            `delta:"time_to_first_byte_ms" wire:"26"`
	ContentType        string            `delta:"response_content_type,omitzero" wire:"27"`
	StatusCode         int32             `delta:"status_code,omitzero" wire:"28"`
	Routing            *routing          `delta:"routing_information" wire:"29"`
	InvocationID       string            `delta:"invocation_id" wire:"30"`
	InvocationMetadata *invocation       `delta:"invocation_metadata" wire:"31"`
	ServiceType        string            `delta:"service_type,omitzero" wire:"32"`
	ServiceID          string            `delta:"service_id,omitzero" wire:"33"`
	ServiceName        string            `delta:"service_name,omitzero" wire:"34"`
	ServiceTags        map[string]string `delta:"service_tags" wire:"35"`
	MCP                *mcp              `delta:"mcp_metadata" wire:"36"`

	Status            string          `delta:"status" wire:"37"`
	ErrorCode         string          `delta:"error_code,omitzero" wire:"38"`
	RequesterGroups   []string        `delta:"requester_groups" wire:"39"`
	CodingTool        string          `delta:"coding_tool,omitzero" wire:"40"`
	CodingToolVersion string          `delta:"coding_tool_version,omitzero" wire:"41"`
	SessionID         string          `delta:"session_id,omitzero" wire:"42"`
	AgentID           string          `delta:"agent_id,omitzero" wire:"43"`
	LostFields        []string        `delta:"lost_fields" wire:"44"`
	TokenSource       string          `delta:"token_source" wire:"45"`
	UncachedTokens    *int64          `delta:"uncached_input_tokens" wire:"46"`
	CacheWrite5m      *int64          `delta:"cache_write_5m_tokens" wire:"47"`
	CacheWrite1h      *int64          `delta:"cache_write_1h_tokens" wire:"48"`
	ToolCalls         *int32          `delta:"tool_calls" wire:"49"`
	Price             *rates          `delta:"price" wire:"50"`
	Cost              *delta.Unscaled `delta:"cost_usd" wire:"51"` // USD of 1e-12
	AttemptCosts      []attemptCost   `delta:"attempt_costs" wire:"52"`
	EventDate         int32           `delta:"event_date" wire:"53"` // days since 1970
	Operation         string          `delta:"operation,omitzero" wire:"54"`
	CodingToolMode    string          `delta:"coding_tool_mode,omitzero" wire:"55"`
	TurnID            string          `delta:"turn_id,omitzero" wire:"56"`
}

type endpointMetadata struct {
	InferenceTable string `delta:"inference_table,omitzero" wire:"5"`
}

type tokenDetails struct {
	CacheRead     int64 `delta:"cache_read_input_tokens" wire:"1"`
	CacheCreation int64 `delta:"cache_creation_input_tokens" wire:"2"`
	Reasoning     int64 `delta:"output_reasoning_tokens" wire:"3"`
}

type routing struct {
	Attempts []attempt `delta:"attempts" wire:"1"`
}

type attempt struct {
	Action      string `delta:"action,omitzero" wire:"1"`
	Destination string `delta:"destination,omitzero" wire:"2"`
	StatusCode  int32  `delta:"status_code,omitzero" wire:"3"`
	LatencyMS   int64  `delta:"latency_ms" wire:"4"`
}

type invocation struct {
	Source      string `delta:"source,omitzero" wire:"1"`
	ServiceTier string `delta:"service_tier,omitzero" wire:"2"`
}

type mcp struct {
	Method     string `delta:"json_rpc_method,omitzero" wire:"1"`
	ToolName   string `delta:"tool_name,omitzero" wire:"2"`
	ServerType string `delta:"server_type,omitzero" wire:"3"`
	ClientName string `delta:"client_name,omitzero" wire:"4"`
}

type attemptCost struct {
	DestinationName  string          `delta:"destination_name,omitzero" wire:"1"`
	DestinationModel string          `delta:"destination_model,omitzero" wire:"2"`
	InputTokens      int64           `delta:"input_tokens" wire:"3"`
	OutputTokens     int64           `delta:"output_tokens" wire:"4"`
	Cost             *delta.Unscaled `delta:"cost_usd" wire:"5"`
}

var usageMessage = messageOf[row]()

// appendTo adds the row's wire form to b.
func (r *row) appendTo(b []byte) []byte { return appendMessage(b, usageMessage, r) }

// decodeRow reads the wire form of a row. It keeps b.
func decodeRow(b []byte) (*row, error) {
	r, err := decodeMessage[row](b, usageMessage)
	if err != nil {
		return nil, err
	}
	// A list or map without anything in it has no wire form.
	if r.RequestTags == nil {
		r.RequestTags = noTags
	}
	if r.RequesterGroups == nil {
		r.RequesterGroups = noTexts
	}
	if r.LostFields == nil {
		r.LostFields = noTexts
	}
	if r.Routing != nil && r.Routing.Attempts == nil {
		r.Routing.Attempts = noAttempts
	}
	return r, nil
}

// Empty lists and maps, which are not null in a table.
var (
	noTags     = map[string]string{}
	noTexts    = []string{}
	noAttempts = []attempt{}
)

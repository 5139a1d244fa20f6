package usage

import (
	"sync"

	"github.com/sallyport-gateway/sallyport/core/delta"
	"github.com/sallyport-gateway/sallyport/core/tables"
)

// UsageKind is what the rows of UsageTable are. Its Decode keeps the body.
func UsageKind() *tables.Kind { return usageKind() }

var usageKind = sync.OnceValue(func() *tables.Kind {
	return &tables.Kind{
		Name: "usage", Version: schemaVersion, Schema: usageSchema(),
		Partition: []string{"event_date"}, TimeColumn: "event_time",
		Decode: func(body []byte) (any, error) { return decodeRow(body) },
	}
})

// payloadVersion is that of payload rows, and their column schema_version.
const payloadVersion = 1

// PayloadKind is what the rows of a payload table are. Its Decode keeps the body.
func PayloadKind() *tables.Kind { return payloadKind() }

var payloadKind = sync.OnceValue(func() *tables.Kind {
	return &tables.Kind{
		Name: "payload", Version: payloadVersion, Schema: payloadSchema(),
		Partition: []string{"event_date"}, TimeColumn: "event_time", Bulk: []string{"request", "response"},
		Decode: func(body []byte) (any, error) { return decodePayload(body) },
	}
})

var (
	stringMap  = delta.Map{Key: delta.String, Value: delta.String}
	stringList = delta.Array{Element: delta.String}
	usd        = delta.Decimal{Precision: 18, Scale: 12}
	usdPrice   = delta.Decimal{Precision: 18, Scale: 6}
)

func column(name string, t delta.Type, comment string) delta.Field {
	return delta.Field{Name: name, Type: t, Comment: comment}
}

// usageSchema is the columns of UsageTable: those of Databricks' table of that
// name, in its order, and then those that only this gateway has. New columns go
// to the end and raise schemaVersion.
func usageSchema() delta.Schema {
	return delta.Schema{
		column("event_time", delta.Timestamp, "When the call began, UTC."),
		column("account_id", delta.String, "Account of this gateway, from its configuration; null when it has none."),
		column("workspace_id", delta.String, "Workspace of this gateway, from its configuration; null when it has none."),
		column("request_id", delta.String, "Id of the HTTP request. One request may make several calls, each with a row: model turns and tool calls. The reply carries it as x-request-id."),
		column("endpoint_id", delta.String, "Always null here."),
		column("endpoint_name", delta.String, "The model as clients name it in this gateway; null for a tool call."),
		column("endpoint_metadata", delta.Struct{
			column("creator", delta.String, "Always null here."),
			column("creation_time", delta.Timestamp, "Always null here."),
			column("last_updated_time", delta.Timestamp, "Always null here."),
			column("destinations", stringList, "Always null here."),
			column("inference_table", delta.String, "Table that holds the request and the reply, joined by invocation_id."),
		}, "Null unless the model's requests and replies are kept."),
		column("endpoint_tags", stringMap, "Always null here."),
		column("destination_type", delta.String, "EXTERNAL_FOUNDATION_MODEL; null for a tool call."),
		column("destination_name", delta.String, "The provider that answered, or was asked last, by its name in the configuration; null for a tool call."),
		column("destination_id", delta.String, "The model that the provider says answered, such as one with a date; null when it did not say."),
		column("destination_model", delta.String, "The model that was asked of that provider, by the provider's name for it; null for a tool call."),
		column("requester", delta.String, "Name of the user or service principal who made the call."),
		column("requester_type", delta.String, "USER or SERVICE_PRINCIPAL."),
		column("ip_address", delta.String, "Address that the request came from."),
		column("url", delta.String, "Path of the request, without its query."),
		column("user_agent", delta.String, "User-Agent of the request, as the client sent it."),
		column("api_type", delta.String, "API that was used, such as mlflow/v1/responses."),
		column("schema_version", delta.Integer, "Version of the columns that the row was written with."),
		column("request_tags", stringMap, "Tags that the client sent with the request; empty when it sent none."),
		column("input_tokens", delta.Long, "All input tokens of all attempts, those read from and written to a cache included; null for a tool call."),
		column("output_tokens", delta.Long, "All output tokens of all attempts, reasoning included; null for a tool call."),
		column("total_tokens", delta.Long, "input_tokens + output_tokens."),
		column("token_details", delta.Struct{
			column("cache_read_input_tokens", delta.Long, "Input tokens served from the provider's cache."),
			column("cache_creation_input_tokens", delta.Long, "Input tokens written to the provider's cache: cache_write_5m_tokens + cache_write_1h_tokens."),
			column("output_reasoning_tokens", delta.Long, "Output tokens that were reasoning."),
		}, "Parts of input_tokens and output_tokens; null for a tool call."),
		column("latency_ms", delta.Long, "From the beginning of the call to its end, in milliseconds; null when the gateway was interrupted."),
		column("time_to_first_byte_ms", delta.Long, "From the beginning of the call to the first event of the reply, in milliseconds; null when there was none."),
		column("response_content_type", delta.String, "Content type of the reply to the client."),
		column("status_code", delta.Integer, "HTTP status that the outcome stands for: 200, 499 when the client left, else that of error_code; null when the gateway was interrupted."),
		column("routing_information", delta.Struct{
			column("attempts", delta.Array{Element: delta.Struct{
				column("action", delta.String, "primary, retry (the same destination again) or fallback (another one)."),
				column("destination", delta.String, "Provider and model, as provider/model."),
				column("status_code", delta.Integer, "HTTP status of the provider; null when it sent none."),
				column("latency_ms", delta.Long, "How long the attempt took, in milliseconds."),
			}}, "In order; the last one answered, or failed for good."),
		}, "What was asked upstream for this call; null for a tool call."),
		column("invocation_id", delta.String, "Id of the call, unique to the row."),
		column("invocation_metadata", delta.Struct{
			column("source", delta.String, "Always null here."),
			column("service_tier", delta.String, "Service tier that the provider says it used."),
		}, "Null when the provider said nothing of it."),
		column("service_type", delta.String, "MCP_SERVICE for a call to an MCP server, HOSTED_TOOL for one to another tool of the gateway; null for a model call."),
		column("service_id", delta.String, "Always null here."),
		column("service_name", delta.String, "The tool's object, such as catalog.schema.name, or its type; null for a model call."),
		column("service_tags", stringMap, "Always null here."),
		column("mcp_metadata", delta.Struct{
			column("json_rpc_method", delta.String, "tools/call."),
			column("tool_name", delta.String, "The function that was called."),
			column("server_type", delta.String, "Type of the tool, such as mcp or table."),
			column("client_name", delta.String, "Coding tool on whose behalf the call was made."),
		}, "Null for a model call."),

		column("status", delta.String, "completed, incomplete (ended early, for length or content), failed, canceled (the client left), interrupted (the gateway ended first) or refused (nothing was sent upstream)."),
		column("error_code", delta.String, "What failed, such as upstream_timeout; interrupted when the gateway ended first; null when nothing did."),
		column("requester_groups", stringList, "Groups of the requester at the time of the call."),
		column("coding_tool", delta.String, "Coding tool that made the request, by its own word, such as claude-code; null when it was none."),
		column("coding_tool_version", delta.String, "Its version, by its own word."),
		column("session_id", delta.String, "Session of the client, by its own word."),
		column("agent_id", delta.String, "Sub-agent of the coding tool, by its own word; null for the main one."),
		column("lost_fields", stringList, "Fields of the request that the provider could not be told."),
		column("token_source", delta.String, "provider when the tokens are as the provider counted them, estimated when the gateway did for at least one attempt, none when no attempt used any."),
		column("uncached_input_tokens", delta.Long, "Input tokens that were neither read from a cache nor written to one; null for a tool call."),
		column("cache_write_5m_tokens", delta.Long, "Input tokens written to the provider's 5-minute cache; null for a tool call."),
		column("cache_write_1h_tokens", delta.Long, "Input tokens written to the provider's 1-hour cache; null for a tool call."),
		column("tool_calls", delta.Integer, "Calls of tools that the model asked for; null for a tool call."),
		column("price", delta.Struct{
			column("input", usdPrice, "USD per million uncached input tokens."),
			column("output", usdPrice, "USD per million output tokens, reasoning included."),
			column("cache_read", usdPrice, "USD per million input tokens read from a cache; the input price when none is configured."),
			column("cache_write", usdPrice, "USD per million input tokens written to the 5-minute cache; the input price when none is configured."),
			column("cache_write_1h", usdPrice, "USD per million input tokens written to the 1-hour cache; the 5-minute price when none is configured."),
		}, "Price of the destination that answered, at the time of the call; null when none is configured."),
		column("cost_usd", usd, "What all attempts cost, in USD: each one's tokens at the price of its destination. Null when no price is configured for any of them, or for a tool call."),
		column("attempt_costs", delta.Array{Element: delta.Struct{
			column("destination_name", delta.String, "Provider."),
			column("destination_model", delta.String, "Model, by the provider's name for it."),
			column("input_tokens", delta.Long, "All its input tokens."),
			column("output_tokens", delta.Long, "All its output tokens."),
			column("cost_usd", usd, "Its cost in USD; null when no price is configured for it."),
		}}, "Parts of cost_usd, by attempt in order; null unless there were several."),
		column("event_date", delta.Date, "UTC day of event_time; the table is partitioned by it."),
		column("operation", delta.String, "What the model was asked for: generate, count_tokens or embed; null for a tool call, and in rows of schema_version 1, which are all generate."),
		column("coding_tool_mode", delta.String, "interactive or headless, by the coding tool's own word; null when it does not say."),
		column("turn_id", delta.String, "Turn of the session, by the coding tool's own word; null when it does not say."),
	}
}

// payloadSchema is the columns of a payload table: those of Databricks'
// inference tables, and then ours.
func payloadSchema() delta.Schema {
	return delta.Schema{
		column("event_time", delta.Timestamp, "When the call began, UTC."),
		column("request_id", delta.String, "Id of the HTTP request; several calls may share it."),
		column("invocation_id", delta.String, "Id of the call, as in "+UsageTable+"."),
		column("request_tags", stringMap, "Tags that the client sent with the request; empty when it sent none."),
		column("status_code", delta.Integer, "HTTP status that the outcome stands for: 200, 499 when the client left, else that of the error."),
		column("sampling_fraction", delta.Double, "Share of the calls that are kept: 1."),
		column("latency_ms", delta.Long, "From the beginning of the call to its end, in milliseconds."),
		column("time_to_first_byte_ms", delta.Long, "From the beginning of the call to the first event of the reply, in milliseconds; null when there was none."),
		column("request", delta.String, "The request as JSON, without credentials; cut when it was too large."),
		column("response", delta.String, "The reply as JSON; cut when it was too large."),
		column("destination_type", delta.String, "EXTERNAL_FOUNDATION_MODEL."),
		column("destination_name", delta.String, "The provider that answered, or was asked last."),
		column("destination_model", delta.String, "The model that was asked of it, by the provider's name for it."),
		column("logging_error_codes", stringList, "MAX_REQUEST_SIZE_EXCEEDED, MAX_RESPONSE_SIZE_EXCEEDED: it was cut at the limit. REQUEST_NOT_KEPT, RESPONSE_NOT_KEPT: there was no room for more than its beginning. Empty when both are whole."),
		column("requester", delta.String, "Name of the user or service principal who made the call."),
		column("schema_version", delta.Integer, "Version of the columns that the row was written with."),
		column("url", delta.String, "Path of the request, without its query."),
		column("api_type", delta.String, "API that was used, such as mlflow/v1/responses."),
		column("status", delta.String, "completed, incomplete, failed or canceled."),
		column("endpoint_name", delta.String, "The model as clients name it in this gateway."),
		column("session_id", delta.String, "Session of the client, by its own word."),
		column("event_date", delta.Date, "UTC day of event_time; the table is partitioned by it."),
	}
}

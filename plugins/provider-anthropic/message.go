package main

import "encoding/json"

// The body of POST v1/messages: the part of it that we send.
type messagesRequest struct {
	Model         string        `json:"model"`
	MaxTokens     int64         `json:"max_tokens,omitempty"` // always there but where tokens are only counted
	System        []block       `json:"system,omitempty"`
	Messages      []message     `json:"messages"`
	Tools         []toolParam   `json:"tools,omitempty"`
	ToolChoice    *toolChoice   `json:"tool_choice,omitempty"`
	Thinking      *thinking     `json:"thinking,omitempty"`
	OutputConfig  *outputConfig `json:"output_config,omitempty"`
	Temperature   *float64      `json:"temperature,omitempty"`
	TopP          *float64      `json:"top_p,omitempty"`
	TopK          *int64        `json:"top_k,omitempty"`
	StopSequences []string      `json:"stop_sequences,omitempty"`
	Stream        bool          `json:"stream,omitempty"`
	Metadata      *metadata     `json:"metadata,omitempty"`
	ServiceTier   string        `json:"service_tier,omitempty"`
}

type message struct {
	Role    string  `json:"role"` // user, assistant
	Content []block `json:"content"`

	foreign bool // of an assistant: reasoning of another provider was dropped from it
}

// block is a content block. Which members are set depends on Type; an empty
// one is never sent.
type block struct {
	Type string `json:"type"`

	Text string `json:"text,omitempty"` // text

	Source *source `json:"source,omitempty"` // image, document
	Title  string  `json:"title,omitempty"`  // document

	ID    string          `json:"id,omitempty"` // tool_use
	Name  string          `json:"name,omitempty"`
	Input json.RawMessage `json:"input,omitempty"`

	ToolUseID string  `json:"tool_use_id,omitempty"` // tool_result
	Content   []block `json:"content,omitempty"`
	IsError   bool    `json:"is_error,omitempty"`

	Thinking  *string `json:"thinking,omitempty"` // thinking; "" when the provider keeps it to itself
	Signature string  `json:"signature,omitempty"`
	Data      string  `json:"data,omitempty"` // redacted_thinking

	CacheControl *mark `json:"cache_control,omitempty"` // any but thinking
}

func (b *block) isThinking() bool { return b.Type == "thinking" || b.Type == "redacted_thinking" }

// source is where the bytes of an image or document are.
type source struct {
	Type      string `json:"type"` // base64, url, text
	MediaType string `json:"media_type,omitempty"`
	Data      string `json:"data,omitempty"`
	URL       string `json:"url,omitempty"`
}

type toolParam struct {
	Name        string          `json:"name"`
	Description string          `json:"description,omitempty"`
	InputSchema json.RawMessage `json:"input_schema"`

	CacheControl *mark `json:"cache_control,omitempty"`
}

type toolChoice struct {
	Type            string `json:"type"` // auto, any, tool, none
	Name            string `json:"name,omitempty"`
	DisableParallel bool   `json:"disable_parallel_tool_use,omitempty"`
}

type thinking struct {
	Type         string `json:"type"` // enabled, adaptive, disabled
	BudgetTokens int64  `json:"budget_tokens,omitempty"`
	Display      string `json:"display,omitempty"` // summarized
}

type outputConfig struct {
	Effort string        `json:"effort,omitempty"`
	Format *outputFormat `json:"format,omitempty"`
}

type outputFormat struct {
	Type   string          `json:"type"` // json_schema
	Schema json.RawMessage `json:"schema"`
}

type metadata struct {
	UserID string `json:"user_id"`
}

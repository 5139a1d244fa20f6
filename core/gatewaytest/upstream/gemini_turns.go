package upstream

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
)

var geminiData = []string{"text", "inlineData", "fileData", "functionCall", "functionResponse", "executableCode", "codeExecutionResult"}

// geminiParts checks each part by itself.
func geminiParts(s *Server, _ string, o object) *refusal {
	contents := objects(o, "contents")
	if len(contents) == 0 {
		return google("* GenerateContentRequest.contents: contents is not specified")
	}
	if sys, ok := o["systemInstruction"].(object); ok && len(objects(sys, "parts")) == 0 {
		return google("* GenerateContentRequest.system_instruction.parts: contents.parts must not be empty.")
	}
	for i, c := range contents {
		if role := c["role"]; role != nil && role != "user" && role != "model" && role != "function" {
			return google("Please use a valid role: user, model.")
		}
		parts := objects(c, "parts")
		if len(parts) == 0 {
			return google("* GenerateContentRequest.contents[%d].parts: contents.parts must not be empty.", i)
		}
		for j, p := range parts {
			at := fmt.Sprintf("contents[%d].parts[%d]", i, j)
			n := 0
			for _, d := range geminiData {
				if _, ok := p[d]; ok {
					n++
				}
			}
			signature := str(p, "thoughtSignature")
			switch {
			case n > 1:
				return google("Invalid value at '%s' (oneof), oneof field 'data' is already set. Cannot set another.", at)
			case n == 0 || p["text"] == "" && signature == "":
				return google("* GenerateContentRequest.%s.data: required oneof field 'data' must have one initialized field", at)
			case c["role"] == "model" && p["functionResponse"] != nil:
				return google("* GenerateContentRequest.%s: function_response is not allowed in role model", at)
			case c["role"] != "model" && (p["functionCall"] != nil || signature != "" || truth(p, "thought")):
				return google("* GenerateContentRequest.%s: only role model may have this part", at)
			}
			if signature != "" && !s.signedPart(p, signature) {
				if raw, err := base64.StdEncoding.DecodeString(signature); err != nil {
					return google("Invalid value at '%s.thought_signature' (TYPE_BYTES), Base64 decoding failed for %q", at, signature)
				} else if len(raw) == 0 {
					return google("Thought signature is not valid.")
				}
				return google("Corrupted thought signature.")
			}
		}
	}
	return nil
}

// partSignature signs a part of a reply: a call with its name and arguments,
// or any text.
func (s *Server) partSignature(p object) string {
	if c, ok := p["functionCall"].(object); ok {
		return base64.StdEncoding.EncodeToString([]byte(s.sign("call", str(c, "name"), encode(c["args"]))))
	}
	return base64.StdEncoding.EncodeToString([]byte(s.sign("text")))
}

// The values that Google's documents offer for calls of other models.
var signatureExempt = []string{"skip_thought_signature_validator", "context_engineering_is_the_way_to_go",
	base64.StdEncoding.EncodeToString([]byte("skip_thought_signature_validator")), base64.StdEncoding.EncodeToString([]byte("context_engineering_is_the_way_to_go"))}

func (s *Server) signedPart(p object, signature string) bool {
	return signature == s.partSignature(p) || p["functionCall"] != nil && slices.Contains(signatureExempt, signature)
}

// geminiTurns checks the order of calls and responses, and that the turn that
// is going on has the signatures of its calls.
func geminiTurns(s *Server, model string, o object) *refusal {
	contents := objects(o, "contents")
	begin := 0 // the last content that is a user's word
	for i, c := range contents {
		if c["role"] != "model" && len(partsOf(c, "functionResponse")) < len(objects(c, "parts")) {
			begin = i
		}
	}
	if contents[len(contents)-1]["role"] == "model" {
		return google("Please ensure that multiturn requests end with a user role or a function response.")
	}
	for i, c := range contents {
		calls := partsOf(c, "functionCall")
		if len(calls) > 0 {
			if i == 0 || contents[i-1]["role"] == "model" {
				return google("Please ensure that function call turn comes immediately after a user turn or after a function response turn.")
			}
			if i+1 == len(contents) || len(partsOf(contents[i+1], "functionResponse")) != len(calls) {
				return google("Please ensure that the number of function response parts is equal to the number of function call parts of the function call turn.")
			}
		}
		if responses := partsOf(c, "functionResponse"); len(responses) > 0 {
			if i == 0 || len(partsOf(contents[i-1], "functionCall")) != len(responses) {
				return google("Please ensure that function response turn comes immediately after a function call turn.")
			}
			before := partsOf(contents[i-1], "functionCall")
			for j, r := range responses {
				if str(r, "name") != str(before[j], "name") || r["id"] != nil && before[j]["id"] != nil && r["id"] != before[j]["id"] {
					return google("Please ensure that the function response name '%s' matches the function call name '%s'.", str(r, "name"), str(before[j], "name"))
				}
			}
		}
		if i <= begin || len(calls) == 0 {
			continue
		}
		own := s.memory.calls[str(calls[0], "name")+" "+encode(calls[0]["args"])].reasoning
		for _, p := range objects(c, "parts") {
			if p["functionCall"] == nil {
				continue
			}
			if str(p, "thoughtSignature") == "" && (own != "" || strings.HasPrefix(model, "gemini-3")) {
				return google("Function call is missing a thought_signature in functionCall parts. This is required for tools to work correctly, and missing thought_signature may lead to degraded model performance. Additional data, function call `default_api:%s` , position %d. Please refer to https://ai.google.dev/gemini-api/docs/thought-signatures for more details.", str(calls[0], "name"), i+1)
			}
			break // of parallel calls only the first one has it
		}
	}
	return nil
}

func partsOf(c object, name string) []object {
	var out []object
	for _, p := range objects(c, "parts") {
		if v, ok := p[name].(object); ok {
			out = append(out, v)
		}
	}
	return out
}

package upstream

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Gemini plays Google's Generative Language API:
// /v1beta/models/NAME:generateContent and :streamGenerateContent?alt=sse.
func Gemini(tb testing.TB, key string) *Server {
	tb.Helper()
	return start(tb, key, "", gemini{})
}

type gemini struct{}

var (
	// geminiSchema is the subset of OpenAPI that `parameters` is; full JSON
	// Schema goes into parametersJsonSchema.
	geminiSchema = &shape{kind: "object"}
	geminiBlob   = fields(map[string]*shape{"mimeType": text, "data": text, "displayName": text}, "mimeType", "data")
	geminiPart   = fields(map[string]*shape{
		"text": text, "thought": flag, "thoughtSignature": text, "inlineData": geminiBlob,
		"fileData":         fields(map[string]*shape{"mimeType": text, "fileUri": text, "displayName": text}, "fileUri"),
		"functionCall":     fields(map[string]*shape{"id": text, "name": text, "args": freeObj}, "name"),
		"functionResponse": fields(map[string]*shape{"id": text, "name": text, "response": freeObj, "willContinue": flag, "scheduling": text, "parts": list(fields(map[string]*shape{"inlineData": geminiBlob}))}, "name", "response"),
		"executableCode":   freeObj, "codeExecutionResult": freeObj, "videoMetadata": freeObj, "partMetadata": freeObj, "mediaResolution": freeObj,
	})
	geminiRequest = fields(map[string]*shape{
		"contents":          list(fields(map[string]*shape{"role": text, "parts": list(geminiPart)})),
		"systemInstruction": fields(map[string]*shape{"role": text, "parts": list(fields(map[string]*shape{"text": text}))}),
		"tools": list(fields(map[string]*shape{"googleSearch": freeObj, "codeExecution": freeObj, "urlContext": freeObj,
			"functionDeclarations": list(fields(map[string]*shape{"name": text, "description": text, "parameters": geminiSchema, "parametersJsonSchema": free,
				"response": geminiSchema, "responseJsonSchema": free, "behavior": text}, "name"))})),
		"toolConfig": fields(map[string]*shape{"functionCallingConfig": fields(map[string]*shape{"mode": oneOf("MODE_UNSPECIFIED", "AUTO", "ANY", "NONE", "VALIDATED"),
			"allowedFunctionNames": list(text)})}),
		"safetySettings": list(fields(map[string]*shape{"category": text, "threshold": text}, "category", "threshold")), "cachedContent": text,
		"generationConfig": fields(map[string]*shape{"stopSequences": list(text), "responseMimeType": text, "responseSchema": geminiSchema, "responseJsonSchema": free, "responseModalities": list(text),
			"candidateCount": number, "maxOutputTokens": number, "temperature": number, "topP": number, "topK": number, "seed": number, "presencePenalty": number, "frequencyPenalty": number,
			"responseLogprobs": flag, "logprobs": number, "enableEnhancedCivicAnswers": flag, "mediaResolution": text, "speechConfig": freeObj, "imageConfig": freeObj,
			"thinkingConfig": fields(map[string]*shape{"includeThoughts": flag, "thinkingBudget": number, "thinkingLevel": oneOf("MINIMAL", "LOW", "MEDIUM", "HIGH", "minimal", "low", "medium", "high")})}),
	})
	geminiPath = regexp.MustCompile(`^/v1beta/models/([a-z0-9.-]+):(generateContent|streamGenerateContent)$`)
)

func (gemini) accept(s *Server, r *http.Request, body []byte) (*query, *refusal) {
	path := geminiPath.FindStringSubmatch(r.URL.Path)
	if path == nil || r.Method != http.MethodPost {
		return nil, &refusal{status: 404, message: "Requested entity was not found.", typ: "NOT_FOUND"}
	}
	key := r.Header.Get("X-Goog-Api-Key")
	if key == "" {
		key = r.URL.Query().Get("key")
	}
	switch {
	case key == "":
		return nil, &refusal{status: 403, message: "Method doesn't allow unregistered callers (callers without established identity). Please use API Key or other form of API consumer identity to call this API."}
	case key != s.key:
		return nil, google("API key not valid. Please pass a valid API key.")
	case r.Header.Get("Authorization") != "":
		return nil, &refusal{status: 401, message: "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid authentication credential."}
	}
	for name := range r.URL.Query() {
		if !slices.Contains([]string{"alt", "key", "$alt", "prettyPrint"}, name) {
			return nil, google("Invalid JSON payload received. Unknown name \"%s\": Cannot bind query parameter. Field '%s' could not be found in request message.", name, name)
		}
	}
	if path[2] == "streamGenerateContent" && r.URL.Query().Get("alt") != "sse" {
		return nil, google("This test serves streams as server-sent events only: alt=sse.")
	}
	o, err := decode(body)
	if err != nil {
		return nil, google("Invalid JSON payload received. %v", err)
	}
	if w := geminiRequest.check(o); w != nil {
		return nil, googleWrong(w)
	}
	for _, check := range []func(*Server, string, object) *refusal{geminiParameters, geminiTools, geminiParts, geminiTurns} {
		if no := check(s, path[1], o); no != nil {
			return nil, no
		}
	}
	generation := member(o, "generationConfig")
	thinking := member(generation, "thinkingConfig")
	return &query{body: o, model: path[1], stream: path[2] == "streamGenerateContent", think: truth(thinking, "includeThoughts"), state: true}, nil
}

func google(format string, args ...any) *refusal {
	return &refusal{status: 400, message: fmt.Sprintf(format, args...)}
}

func googleWrong(w *wrong) *refusal {
	last := w.path[len(w.path)-1]
	at := ""
	if len(w.path) > 1 {
		at = " at '" + snake(bracketed(w.path[:len(w.path)-1])) + "'"
	}
	switch w.what {
	case "unknown":
		return google("Invalid JSON payload received. Unknown name \"%v\"%s: Cannot find field.", last, at)
	case "missing":
		return google("* GenerateContentRequest.%s: must be specified", snake(bracketed(w.path)))
	}
	return google("Invalid value at '%s' (TYPE_%s), %v", snake(bracketed(w.path)), strings.ToUpper(w.want), encode(w.got))
}

func snake(s string) string {
	var b strings.Builder
	for _, r := range s {
		if r >= 'A' && r <= 'Z' {
			b.WriteByte('_')
			r += 'a' - 'A'
		}
		b.WriteRune(r)
	}
	return b.String()
}

func (gemini) failure(f *refusal) string {
	return encode(object{"error": googleError(f)})
}

func googleError(f *refusal) object {
	status := map[int]string{400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND", 429: "RESOURCE_EXHAUSTED",
		499: "CANCELLED", 500: "INTERNAL", 503: "UNAVAILABLE", 504: "DEADLINE_EXCEEDED"}[f.status]
	return object{"code": f.status, "message": f.message, "status": status}
}

func (gemini) broken(*query) string {
	return "data: " + encode(object{"error": googleError(&refusal{status: 503, message: "The model is overloaded. Please try again later."})}) + "\r\n\r\n"
}

func geminiParameters(_ *Server, model string, o object) *refusal {
	generation := member(o, "generationConfig")
	thinking := member(generation, "thinkingConfig")
	if thinking["thinkingLevel"] != nil && strings.HasPrefix(model, "gemini-2.5") {
		return google("Thinking level is not supported for this model.")
	}
	if n, ok := integer(thinking, "thinkingBudget"); ok {
		least := int64(0)
		if strings.Contains(model, "pro") {
			least = 128
		}
		if n != -1 && (n < least || n > 32768) || n > 24576 && strings.Contains(model, "flash") {
			return google("The thinking budget %d is invalid. Please choose a value between %d and 24576.", n, least)
		}
	}
	if n, ok := integer(generation, "maxOutputTokens"); generation["maxOutputTokens"] != nil && (!ok || n < 1) {
		return google("* GenerateContentRequest.generation_config.max_output_tokens: max_output_tokens must be positive.")
	}
	if generation["responseSchema"] != nil && generation["responseJsonSchema"] != nil {
		return google("Only one of response_schema and response_json_schema may be set.")
	}
	tools := 0
	for _, t := range objects(o, "tools") {
		tools += len(objects(t, "functionDeclarations"))
	}
	if tools > 0 && generation["responseMimeType"] == "application/json" && strings.HasPrefix(model, "gemini-2.5") {
		return google("Function calling with a response mime type: 'application/json' is unsupported")
	}
	calling := member(member(o, "toolConfig"), "functionCallingConfig")
	if mode := calling["mode"]; calling["allowedFunctionNames"] != nil && mode != "ANY" && mode != "VALIDATED" {
		return google("Allowed function names should only be set when function calling mode is ANY or VALIDATED.")
	}
	if tools == 0 && calling["mode"] == "ANY" {
		return google("Function calling config is set without function_declarations.")
	}
	return nil
}

var geminiName = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_.:-]{0,63}$`)

func geminiTools(_ *Server, _ string, o object) *refusal {
	seen := map[string]bool{}
	for i, t := range objects(o, "tools") {
		for j, f := range objects(t, "functionDeclarations") {
			name := str(f, "name")
			at := fmt.Sprintf("tools[%d].function_declarations[%d]", i, j)
			switch {
			case !geminiName.MatchString(name):
				return google("* GenerateContentRequest.%s.name: [FIELD_INVALID] Invalid function name. Must start with a letter or an underscore. Must be alphameric (a-z, A-Z, 0-9), underscores (_), dots (.), colons (:), or dashes (-), with a maximum length of 64.", at)
			case seen[name]:
				return google("Duplicate function declaration found: %s", name)
			case f["parameters"] != nil && f["parametersJsonSchema"] != nil:
				return google("* GenerateContentRequest.%s: only one of parameters and parameters_json_schema may be set", at)
			}
			seen[name] = true
			if p, ok := f["parameters"]; ok {
				if no := geminiSubset(p, at+".parameters"); no != nil {
					return no
				}
			}
			if p, ok := f["parametersJsonSchema"]; ok {
				if s, _ := p.(object); s["type"] != "object" {
					return google("* GenerateContentRequest.%s.parameters_json_schema: schema should be of OBJECT type.", at)
				}
				if err := checkSchema(p, "schema"); err != nil {
					return google("* GenerateContentRequest.%s.parameters_json_schema: %v", at, err)
				}
			}
		}
	}
	calling := member(member(o, "toolConfig"), "functionCallingConfig")
	names, _ := calling["allowedFunctionNames"].([]any)
	for _, n := range names {
		if s, _ := n.(string); !seen[s] {
			return google("Allowed function name %v is not declared.", n)
		}
	}
	return nil
}

var geminiKeywords = []string{"type", "format", "title", "description", "nullable", "enum", "maxItems", "minItems", "properties", "required", "minProperties", "maxProperties",
	"minLength", "maxLength", "pattern", "example", "anyOf", "propertyOrdering", "default", "items", "minimum", "maximum"}

// geminiSubset checks a schema in the form of OpenAPI's subset.
func geminiSubset(v any, at string) *refusal {
	s, ok := v.(object)
	if !ok {
		return google("Invalid value at '%s' (type.googleapis.com/google.ai.generativelanguage.v1beta.Schema), %s", at, encode(v))
	}
	for k := range s {
		if !slices.Contains(geminiKeywords, k) {
			return google("Invalid JSON payload received. Unknown name \"%s\" at '%s': Cannot find field.", k, at)
		}
	}
	typ, ok := s["type"].(string)
	if s["type"] != nil && !ok {
		return google("Invalid JSON payload received. Unknown name \"type\" at '%s': Proto field is not repeating, cannot start list.", at)
	}
	if typ != "" && !slices.Contains(schemaTypes, strings.ToLower(typ)) {
		return google("Invalid value at '%s.type' (type.googleapis.com/google.ai.generativelanguage.v1beta.Type), \"%s\"", at, typ)
	}
	if strings.EqualFold(typ, "array") && s["items"] == nil {
		return google("* GenerateContentRequest.%s.items: missing field.", at)
	}
	if e, _ := s["enum"].([]any); len(e) > 0 {
		for _, v := range e {
			if _, ok := v.(string); !ok {
				return google("Invalid value at '%s.enum[0]' (TYPE_STRING), %s", at, encode(v))
			}
		}
		if !strings.EqualFold(typ, "string") {
			return google("* GenerateContentRequest.%s.enum: only allowed for STRING type", at)
		}
	}
	props, _ := s["properties"].(object)
	for name, sub := range props {
		if no := geminiSubset(sub, at+".properties["+name+"]"); no != nil {
			return no
		}
	}
	if required, _ := s["required"].([]any); props != nil {
		for i, n := range required {
			if name, _ := n.(string); props[name] == nil {
				return google("* GenerateContentRequest.%s.required[%d]: property is not defined", at, i)
			}
		}
	}
	if sub, ok := s["items"]; ok {
		if no := geminiSubset(sub, at+".items"); no != nil {
			return no
		}
	}
	any, _ := s["anyOf"].([]any)
	for i, sub := range any {
		if no := geminiSubset(sub, fmt.Sprintf("%s.any_of[%d]", at, i)); no != nil {
			return no
		}
	}
	return nil
}

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

package upstream

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Gemini plays Google's Generative Language API:
// /v1beta/models/NAME:generateContent, :streamGenerateContent with alt=sse and
// without it, :countTokens and :batchEmbedContents.
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
	geminiCount = fields(map[string]*shape{"contents": geminiRequest.members["contents"], "generateContentRequest": freeObj})
	geminiEmbed = fields(map[string]*shape{"requests": list(fields(map[string]*shape{"model": text, "title": text, "outputDimensionality": number,
		"taskType": oneOf("RETRIEVAL_QUERY", "RETRIEVAL_DOCUMENT", "SEMANTIC_SIMILARITY", "CLASSIFICATION", "CLUSTERING"),
		"content":  fields(map[string]*shape{"role": text, "parts": list(fields(map[string]*shape{"text": text}))}, "parts")}, "model", "content"))}, "requests")
	geminiPath = regexp.MustCompile(`^/v1beta/models/([a-z0-9.-]+):(generateContent|streamGenerateContent|countTokens|batchEmbedContents)$`)
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
	o, err := decode(body)
	if err != nil {
		return nil, google("Invalid JSON payload received. %v", err)
	}
	switch path[2] {
	case "countTokens":
		return geminiCounts(s, path[1], o)
	case "batchEmbedContents":
		return geminiEmbeds(path[1], o)
	}
	if no := geminiGenerates(s, path[1], o); no != nil {
		return nil, no
	}
	generation := member(o, "generationConfig")
	thinking := member(generation, "thinkingConfig")
	return &query{body: o, model: path[1], stream: path[2] == "streamGenerateContent", list: r.URL.Query().Get("alt") != "sse",
		think: truth(thinking, "includeThoughts"), state: true}, nil
}

// geminiGenerates checks a request to generate content.
func geminiGenerates(s *Server, model string, o object) *refusal {
	if w := geminiRequest.check(o); w != nil {
		return googleWrong(w)
	}
	for _, check := range []func(*Server, string, object) *refusal{geminiParameters, geminiTools, geminiParts, geminiTurns} {
		if no := check(s, model, o); no != nil {
			return no
		}
	}
	return nil
}

// geminiCounts checks a request to count tokens: contents, or a whole request
// that names the model once more.
func geminiCounts(s *Server, model string, o object) (*query, *refusal) {
	if w := geminiCount.check(o); w != nil {
		return nil, googleWrong(w)
	}
	if inner, ok := o["generateContentRequest"].(object); ok {
		if str(inner, "model") != "models/"+model {
			return nil, google("* CountTokensRequest.generate_content_request.model: unexpected model name format")
		}
		o = with(inner, nil)
		delete(o, "model")
	}
	if no := geminiGenerates(s, model, o); no != nil {
		return nil, no
	}
	return &query{op: count, body: o, model: model}, nil
}

func geminiEmbeds(model string, o object) (*query, *refusal) {
	if w := geminiEmbed.check(o); w != nil {
		return nil, googleWrong(w)
	}
	q := &query{op: embed, body: o, model: model}
	for i, one := range objects(o, "requests") {
		if str(one, "model") != "models/"+model {
			return nil, google("* BatchEmbedContentsRequest.requests[%d].model: the model must be the one of the path", i)
		}
	}
	return q, nil
}

func (gemini) counted(tokens int) string {
	return encode(object{"totalTokens": tokens, "promptTokensDetails": []any{object{"modality": "TEXT", "tokenCount": tokens}}})
}

func (gemini) embedded(q *query) string {
	var all []any
	for _, r := range objects(q.body, "requests") {
		var said strings.Builder
		for _, p := range objects(member(r, "content"), "parts") {
			said.WriteString(str(p, "text"))
		}
		size, _ := integer(r, "outputDimensionality")
		all = append(all, object{"values": Vector(said.String(), int(size))})
	}
	return encode(object{"embeddings": all})
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

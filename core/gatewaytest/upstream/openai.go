package upstream

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
)

// OpenAI plays OpenAI's API: /v1/responses, /v1/chat/completions and
// /v1/embeddings.
func OpenAI(tb testing.TB, key string) *Server {
	tb.Helper()
	return start(tb, key, "/v1", openai{})
}

// openai sends each request to the API it was made for.
type openai struct {
	responses responses
	chat      chat
}

func (d openai) accept(s *Server, r *http.Request, body []byte) (*query, *refusal) {
	isChat := r.URL.Path == "/v1/chat/completions"
	if !isChat && r.URL.Path != "/v1/responses" && r.URL.Path != "/v1/embeddings" {
		return nil, &refusal{status: 404, message: fmt.Sprintf("Invalid URL (%s %s)", r.Method, r.URL.Path)}
	}
	if r.Method != http.MethodPost {
		return nil, &refusal{status: 405, message: "Not allowed to " + r.Method + " on " + r.URL.Path + ". (HINT: Perhaps you meant to use a different HTTP method?)"}
	}
	auth := r.Header.Get("Authorization")
	switch key, ok := strings.CutPrefix(auth, "Bearer "); {
	case !ok:
		return nil, &refusal{status: 401, message: "You didn't provide an API key. You need to provide your API key in an Authorization header using Bearer auth (i.e. Authorization: Bearer YOUR_KEY)."}
	case key != s.key:
		return nil, &refusal{status: 401, code: "invalid_api_key", message: "Incorrect API key provided: " + key + ". You can find your API key at https://platform.openai.com/account/api-keys."}
	}
	if !strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") {
		return nil, &refusal{status: 400, message: "Unsupported content type: '" + r.Header.Get("Content-Type") + "'. This API method only accepts 'application/json' requests.", code: "unsupported_content_type"}
	}
	o, err := decode(body)
	if err != nil {
		return nil, &refusal{status: 400, message: "We could not parse the JSON body of your request: " + err.Error()}
	}
	switch {
	case isChat:
		return d.chat.accept(s, o)
	case r.URL.Path == "/v1/embeddings":
		return embeds(o)
	}
	return d.responses.accept(s, o)
}

func (d openai) reply(s *Server, q *query, t Turn) []string {
	if _, ok := q.body["messages"]; ok {
		return d.chat.reply(s, q, t)
	}
	return d.responses.reply(s, q, t)
}

func (openai) failure(f *refusal) string {
	if f.typ == "" {
		switch {
		case f.status == 429:
			f.typ, f.code = "requests", "rate_limit_exceeded"
		case f.status >= 500:
			f.typ = "server_error"
		default:
			f.typ = "invalid_request_error"
		}
	}
	return encode(object{"error": object{"message": f.message, "type": f.typ, "param": orNull(f.param), "code": orNull(f.code)}})
}

func (openai) broken(q *query) string {
	const sorry = "The server had an error while processing your request. Sorry about that!"
	if _, isChat := q.body["messages"]; isChat {
		return "data: " + encode(object{"error": object{"message": sorry, "type": "server_error", "param": nil, "code": nil}}) + "\n\n"
	}
	return "event: error\ndata: " + encode(object{"type": "error", "code": "server_error", "message": sorry, "param": nil, "sequence_number": 99}) + "\n\n"
}

func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// openaiWrong words what is wrong with a value.
func openaiWrong(w *wrong) *refusal {
	p := bracketed(w.path)
	r := &refusal{status: 400, param: p}
	switch w.what {
	case "unknown":
		r.code, r.message = "unknown_parameter", fmt.Sprintf("Unknown parameter: '%s'.", p)
	case "missing":
		r.code, r.message = "missing_required_parameter", fmt.Sprintf("Missing required parameter: '%s'.", p)
	case "type":
		r.code, r.message = "invalid_type", fmt.Sprintf("Invalid type for '%s': expected %s, but got %s instead.", p, an(w.want), an(kindOf(w.got)))
	default:
		r.code, r.message = "invalid_value", fmt.Sprintf("Invalid value: '%v'. Supported values are: '%s'.", w.got, strings.Join(w.known, "', '"))
	}
	return r
}

func an(kind string) string {
	if strings.ContainsRune("aio", rune(kind[0])) {
		return "an " + kind
	}
	return "a " + kind
}

func invalid(param, format string, args ...any) *refusal {
	return &refusal{status: 400, param: param, code: "invalid_value", message: fmt.Sprintf(format, args...)}
}

var openaiName = regexp.MustCompile(`^[a-zA-Z0-9_-]+$`)

// checkFunction checks the declaration of a function.
func checkFunction(f object, at string, seen map[string]bool) *refusal {
	name := str(f, "name")
	switch {
	case !openaiName.MatchString(name):
		return invalid(at+".name", "Invalid '%s.name': string does not match pattern. Expected a string that matches the pattern '^[a-zA-Z0-9_-]+$'.", at)
	case len(name) > 64:
		return &refusal{status: 400, param: at + ".name", code: "string_above_max_length",
			message: fmt.Sprintf("Invalid '%s.name': string too long. Expected a string with maximum length 64, but got a string with length %d instead.", at, len(name))}
	case seen[name]:
		return invalid(at, "Duplicate function name: '%s'.", name)
	}
	seen[name] = true
	p, ok := f["parameters"]
	if !ok || p == nil {
		return nil
	}
	bad := func(problem string) *refusal {
		return &refusal{status: 400, param: at + ".parameters", code: "invalid_function_parameters", message: fmt.Sprintf("Invalid schema for function '%s': %s", name, problem)}
	}
	if s, ok := p.(object); !ok || s["type"] != "object" {
		return bad(fmt.Sprintf(`schema must be a JSON Schema of 'type: "object"', got 'type: "%v"'.`, s["type"]))
	}
	if err := checkSchema(p, "()"); err != nil {
		return bad(err.Error())
	}
	if f["strict"] == true {
		if problem := checkStrict(p, ""); problem != "" {
			return bad(problem)
		}
	}
	return nil
}

// reasons tells whether a model is one of those that reason.
func reasons(model string) bool {
	return strings.HasPrefix(model, "gpt-5") || strings.HasPrefix(model, "o3") || strings.HasPrefix(model, "o4")
}

// sampling refuses what models that reason do not take.
func sampling(o object, model, effort string, names ...string) *refusal {
	if !reasons(model) || effort == "none" {
		return nil
	}
	for _, n := range names {
		if o[n] != nil {
			return &refusal{status: 400, param: n, code: "unsupported_parameter", message: fmt.Sprintf("Unsupported parameter: '%s' is not supported with this model.", n)}
		}
	}
	return nil
}

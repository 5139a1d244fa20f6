// Package upstream plays the model providers for tests: OpenAI (Responses and
// chat/completions), Anthropic and Gemini. What it answers comes from a
// script; what it accepts is as strict as the real services are, in their own
// words, so that a gateway which gets through here gets through there.
package upstream

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// Server is one provider. Its methods may be called at any time.
type Server struct {
	// URL is the provider's base URL as a configuration names it: with /v1 for
	// OpenAI, without a path for the others.
	URL string

	key    string
	secret []byte // signs what the provider will want back unchanged
	speak  dialect

	mu       sync.Mutex
	script   []Turn
	repeat   *Turn
	play     func(Request) Turn
	trusting bool
	anyIDs   bool
	requests []Request
	count    int // of ids
	memory   memory
}

// memory is what the provider remembers of what it issued.
type memory struct {
	items map[string]issued // OpenAI: by item id
	calls map[string]issued // by call id, or by name and arguments (Gemini)
	texts map[string]string // OpenAI: reasoning id by the text that followed it
}

// issued is an item, or a call, of an earlier reply.
type issued struct {
	kind      string
	callID    string
	reasoning string // id or signature of the reasoning that led to it
	stored    bool
}

// Request is one request as it came.
type Request struct {
	Path    string
	Query   string
	Header  http.Header
	Body    []byte
	Refused string // why it was refused; "" if it was served
}

// dialect is a provider's API.
type dialect interface {
	// accept checks a request; nil serves it. The server's lock is held.
	accept(s *Server, r *http.Request, body []byte) (*query, *refusal)
	// reply writes a turn: one JSON document, or the frames of a stream. The
	// server's lock is held.
	reply(s *Server, q *query, t Turn) (frames []string)
	// failure is the body of an error answer.
	failure(f *refusal) string
	// broken is the frame by which a stream tells of an error.
	broken(q *query) string
	// counted and embedded are the replies to requests that generate nothing.
	counted(tokens int) string
	embedded(q *query) string
}

// query is an accepted request.
type query struct {
	op     op
	body   object
	model  string
	stream bool
	list   bool // Gemini: the stream is a JSON array
	think  bool // the reply may show reasoning
	state  bool // the reply may carry reasoning to be given back
}

// op is what a request asks for. Only generating takes a turn of the script;
// the others answer by themselves.
type op int

const (
	generate op = iota
	count
	embed
)

// refusal is an error answer.
type refusal struct {
	status  int
	message string
	typ     string // of the error, in the provider's words
	code    string
	param   string
}

// New is a provider that somebody else serves: "openai", "anthropic" or
// "gemini". Its URL is empty.
func New(name, key string) (*Server, error) {
	d := map[string]dialect{"openai": openai{}, "anthropic": anthropic{}, "gemini": gemini{}}[name]
	if d == nil {
		return nil, fmt.Errorf("no provider %q: it is openai, anthropic or gemini", name)
	}
	return made(key, d), nil
}

func made(key string, d dialect) *Server {
	s := &Server{key: key, secret: make([]byte, 32), speak: d}
	s.memory = memory{items: map[string]issued{}, calls: map[string]issued{}, texts: map[string]string{}}
	rand.Read(s.secret)
	return s
}

func start(tb testing.TB, key, path string, d dialect) *Server {
	tb.Helper()
	s := made(key, d)
	h := httptest.NewServer(s)
	s.URL = h.URL + path
	tb.Cleanup(func() {
		h.CloseClientConnections() // ends what a gate still holds
		h.Close()
	})
	return s
}

// Script appends turns: each request that is accepted takes the next one.
func (s *Server) Script(turns ...Turn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.script = append(s.script, turns...)
}

// Repeat sets the turn for requests that come when the script is over.
// Without it they are answered with status 500.
func (s *Server) Repeat(t Turn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.repeat = &t
}

// Play makes the server ask f what to answer, with each request that it
// accepts, in place of the script, and keep no accepted requests: for a load
// that goes on for long. f is called once for each, whatever becomes of the
// answer, and one at a time. A nil f means the script again.
func (s *Server) Play(f func(Request) Turn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.play = f
}

// Trust makes the server take every request as it is, without a key and
// whatever its body holds: for requests that no provider knows. Turns are then
// best given by Raw.
func (s *Server) Trust() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trusting = true
}

// AnyIDs makes an OpenAI server take items with ids that it did not issue. The
// real service does so where nothing is stored, and Copilot CLI makes its
// own; without it a test sees that a gateway invents none.
func (s *Server) AnyIDs() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.anyIDs = true
}

// Reset forgets what is left of the script. What was issued stays known.
func (s *Server) Reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.script, s.repeat = nil, nil
}

// Requests returns what has come so far.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Request(nil), s.requests...)
}

// Refusals returns the reasons of the requests that were refused.
func (s *Server) Refusals() []string {
	var all []string
	for _, r := range s.Requests() {
		if r.Refused != "" {
			all = append(all, r.Refused)
		}
	}
	return all
}

// Left is how many scripted turns nobody asked for.
func (s *Server) Left() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.script)
}

const maxBody = 64 << 20

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody))
	if err != nil {
		return // the client left
	}
	s.mu.Lock()
	q, no := s.admit(r, body)
	rec := Request{Path: r.URL.Path, Query: r.URL.RawQuery, Header: r.Header.Clone(), Body: body}
	var turn Turn
	switch {
	case no != nil:
		rec.Refused = fmt.Sprintf("%d %s", no.status, no.message)
	case q.op == count:
		turn.Raw = whole(s.speak.counted(Tokens(body)))
	case q.op == embed:
		turn.Raw = whole(s.speak.embedded(q))
	case s.play != nil:
		turn = s.play(rec)
	case len(s.script) > 0:
		turn, s.script = s.script[0], s.script[1:]
	case s.repeat != nil:
		turn = *s.repeat
	default:
		no = &refusal{status: 500, message: "The script is over: nobody expected this request.", typ: "server_error"}
		rec.Refused = no.message
	}
	if s.play == nil || no != nil {
		s.requests = append(s.requests, rec)
	}
	var frames []string
	if no == nil && turn.Status == 0 && turn.Raw == nil {
		frames = s.speak.reply(s, q, turn)
	}
	s.mu.Unlock()

	if no != nil {
		s.fail(w, no, Turn{})
		return
	}
	if !turn.Before.pass(r.Context()) {
		return
	}
	switch {
	case turn.Fault == Hang:
		<-r.Context().Done()
	case turn.Raw != nil:
		turn.Raw.deliver(w, r, turn)
	case turn.Status != 0:
		s.fail(w, statusRefusal(turn.Status), turn)
	default:
		s.deliver(w, r, q, turn, frames)
	}
}

// admit accepts a request or refuses it. The server's lock is held.
func (s *Server) admit(r *http.Request, body []byte) (*query, *refusal) {
	if s.trusting {
		var b struct {
			Model  string
			Stream bool
		}
		json.Unmarshal(body, &b) // what cannot be read needs Raw turns
		return &query{body: object{}, model: b.Model, stream: b.Stream || strings.Contains(r.URL.Path, ":stream")}, nil
	}
	q, no := s.speak.accept(s, r, body)
	// Also as a Gemini client gives it back: base64 of it.
	if no == nil && (strings.Contains(string(body), "sp1.") || strings.Contains(string(body), `"c3AxL`)) {
		no = &refusal{status: 400, message: "The request holds opaque state of a gateway (sp1.), which no provider issued."}
	}
	return q, no
}

// Tokens is how many tokens the providers here count in a request's body.
func Tokens(body []byte) int { return len(body)/4 + 1 }

func (s *Server) fail(w http.ResponseWriter, no *refusal, t Turn) {
	body := s.speak.failure(no)
	if t.Body != "" {
		body = t.Body
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Request-Id", "req_upstream")
	w.Header().Set("Request-Id", "req_upstream")
	if t.RetryAfter != "" {
		w.Header().Set("Retry-After", t.RetryAfter)
	}
	w.WriteHeader(no.status)
	io.WriteString(w, body)
}

// statusRefusal is what a provider says for itself under a status.
func statusRefusal(status int) *refusal {
	messages := map[int]string{
		400: "Your request could not be processed.",
		401: "Incorrect API key provided.",
		403: "Your account may not use this model.",
		404: "The model does not exist or you do not have access to it.",
		429: "Rate limit reached for requests. Please try again later.",
		500: "The server had an error while processing your request. Sorry about that!",
		503: "The model is overloaded. Please try again later.",
		529: "Overloaded",
	}
	m := messages[status]
	if m == "" {
		m = http.StatusText(status)
	}
	return &refusal{status: status, message: m}
}

// id makes a fresh id.
func (s *Server) id(prefix string, digits int) string {
	s.count++
	return prefix + s.sign(fmt.Sprint(prefix, s.count))[:digits]
}

// sign is what proves that the provider issued a text.
func (s *Server) sign(parts ...string) string {
	m := hmac.New(sha256.New, s.secret)
	for _, p := range parts {
		fmt.Fprintf(m, "%d:%s", len(p), p)
	}
	return hex.EncodeToString(m.Sum(nil))
}

func encode(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // only values made here
	}
	return string(b)
}

package golden

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/engine"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/tool"
)

// Step is one entry of a `host` section: a call the tool is expected to make,
// and the answer. Exactly one of the calls is set. What Gives holds:
//
//	object      a tool.Object
//	query       a list of engine.Batch
//	generate    a list of events in their wire form
//	embed       a list of vectors
//	exec        a tool.Output
//	list        a list of tool.Entry
//	open        the file's text
//	fetch       {"status", "header", "body"}, the body as text
//	progress    nothing
//
// With Error beside it a streamed answer ends in that error.
type Step struct {
	Object   *objectArgs     `json:"object,omitempty"`
	Query    *tool.Query     `json:"query,omitempty"`
	Generate json.RawMessage `json:"generate,omitempty"`
	Embed    *embedArgs      `json:"embed,omitempty"`
	Exec     *tool.Program   `json:"exec,omitempty"`
	List     *listArgs       `json:"list,omitempty"`
	Open     *openArgs       `json:"open,omitempty"`
	Fetch    *fetchArgs      `json:"fetch,omitempty"`
	Progress *tool.Progress  `json:"progress,omitempty"`

	Gives json.RawMessage `json:"gives,omitempty"`
	Error *apierror.Error `json:"error,omitempty"`
}

type objectArgs struct {
	Kind string `json:"kind"`
	Name string `json:"name"`
}

type embedArgs struct {
	Model string   `json:"model"`
	Input []string `json:"input"`
}

type listArgs struct {
	Dir string `json:"dir"`
}

type openArgs struct {
	Path string `json:"path"`
}

type fetchArgs struct {
	Target string      `json:"target"`
	Method string      `json:"method"`
	Path   string      `json:"path"`
	Query  string      `json:"query,omitempty"`
	Header http.Header `json:"header,omitempty"`
	Body   string      `json:"body,omitempty"`
}

type fetched struct {
	Status int         `json:"status"`
	Header http.Header `json:"header,omitempty"`
	Body   string      `json:"body,omitempty"`
}

// Script answers Host calls from the steps of a `host` section. Each step is
// used once; calls that run side by side may use them in any order.
type Script struct {
	// Delay is the longest an answer is held back, at random, so that calls
	// that run side by side overlap in every way. 0 means none.
	Delay time.Duration

	complain func(format string, args ...any)

	mu    sync.Mutex
	steps map[string][]Step // by call, in canonical form
}

// NewScript reads a `host` section: JSON values one after the other. What does
// not go by the script is told to complain.
func NewScript(section []byte, complain func(format string, args ...any)) (*Script, error) {
	s := &Script{complain: complain, steps: map[string][]Step{}}
	d := json.NewDecoder(bytes.NewReader(section))
	d.DisallowUnknownFields()
	for {
		var st Step
		err := d.Decode(&st)
		if errors.Is(err, io.EOF) {
			return s, nil
		}
		if err != nil {
			return nil, fmt.Errorf("section host: %w", err)
		}
		call := st
		call.Gives, call.Error = nil, nil
		k := key(call)
		s.steps[k] = append(s.steps[k], st)
	}
}

// key is the canonical form of a call.
func key(call Step) string {
	b, err := json.Marshal(call)
	if err != nil {
		return fmt.Sprintf("%+v: %v", call, err)
	}
	k, err := Canonical(b)
	if err != nil {
		return string(b)
	}
	return k
}

// take uses up the step for a call and reads its answer into gives. A call
// that is not in the script is complained of.
func (s *Script) take(call Step, gives any) error {
	if s.Delay > 0 {
		time.Sleep(rand.N(s.Delay))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	k := key(call)
	queue := s.steps[k]
	if len(queue) == 0 {
		s.complain("the tool made a Host call that is not in section host, or not as often:\n%s", k)
		return apierror.New(apierror.Internal, "This Host call is not in the script.")
	}
	st := queue[0]
	if s.steps[k] = queue[1:]; len(queue) == 1 {
		delete(s.steps, k)
	}
	if len(st.Gives) > 0 {
		if err := json.Unmarshal(st.Gives, gives); err != nil {
			s.complain("section host: answer to %s: %v", k, err)
		}
	}
	if st.Error != nil {
		return st.Error
	}
	return nil
}

// Finished complains of each step that was not used.
func (s *Script) Finished() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range slices.Sorted(maps.Keys(s.steps)) {
		s.complain("the tool did not make a Host call of section host:\n%s", k)
	}
}

// Service is the gateway that the script plays.
func (s *Script) Service() tool.Service {
	return tool.Service{
		Object: func(_ context.Context, kind, name string) (o tool.Object, err error) {
			err = s.take(Step{Object: &objectArgs{kind, name}}, &o)
			return o, err
		},
		Query: func(_ context.Context, q tool.Query) iter.Seq2[engine.Batch, error] {
			return func(yield func(engine.Batch, error) bool) {
				var bs []engine.Batch
				err := s.take(Step{Query: &q}, &bs)
				replay(bs, err, yield)
			}
		},
		Generate: func(_ context.Context, r *openresponses.Request) iter.Seq2[openresponses.Event, error] {
			return func(yield func(openresponses.Event, error) bool) {
				var raws []json.RawMessage
				err := s.take(Step{Generate: r.AppendJSON(nil)}, &raws)
				var evs []openresponses.Event
				for _, raw := range raws {
					ev, perr := openresponses.ParseEvent(raw)
					if perr != nil {
						s.complain("section host: event %s: %v", raw, perr)
					}
					evs = append(evs, ev)
				}
				replay(evs, err, yield)
			}
		},
		Embed: func(_ context.Context, model string, in []string) (vs [][]float32, err error) {
			err = s.take(Step{Embed: &embedArgs{model, in}}, &vs)
			return vs, err
		},
		Exec: func(_ context.Context, p tool.Program) (o tool.Output, err error) {
			err = s.take(Step{Exec: &p}, &o)
			return o, err
		},
		List: func(_ context.Context, dir string) (es []tool.Entry, err error) {
			err = s.take(Step{List: &listArgs{dir}}, &es)
			return es, err
		},
		Open: func(_ context.Context, path string) (io.ReadCloser, error) {
			var text string
			if err := s.take(Step{Open: &openArgs{path}}, &text); err != nil {
				return nil, err
			}
			return io.NopCloser(strings.NewReader(text)), nil
		},
		Fetch: func(_ context.Context, target string, r tool.Outbound) (*tool.Inbound, error) {
			var f fetched
			err := s.take(Step{Fetch: &fetchArgs{target, r.Method, r.Path, r.Query, r.Header, string(r.Body)}}, &f)
			if err != nil {
				return nil, err
			}
			return &tool.Inbound{Status: f.Status, Header: f.Header, Body: io.NopCloser(strings.NewReader(f.Body))}, nil
		},
		Progress: func(_ context.Context, p tool.Progress) error { return s.take(Step{Progress: &p}, nil) },
	}
}

// replay yields what the script gives, then its error.
func replay[T any](vs []T, err error, yield func(T, error) bool) {
	for _, v := range vs {
		if !yield(v, nil) {
			return
		}
	}
	if err != nil {
		var zero T
		yield(zero, err)
	}
}

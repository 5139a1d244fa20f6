package toolset

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/tool"
)

// Call is a call that the model made of a hosted function.
type Call struct {
	ID          string
	Name        string // as the model calls the function
	Arguments   string // JSON text as the model wrote it
	Traceparent string
}

// Result is what the model sees of a call.
type Result struct {
	Output    openresponses.Output
	Failed    bool
	Citations []tool.Citation
}

// maxImage bounds an image in a result, in bytes of its data URL.
const maxImage = 4 << 20

// Call runs one call. It always has a result: whatever goes wrong is told to
// the model, which may try something else. It returns when the call is over,
// at the latest soon after its deadline or the end of ctx.
//
// A call of a hosted function has exactly one usage row, begun before its
// plugin is asked; if that fails, the call is refused. A call whose arguments
// are no object, or whose grant is gone, is a row too, of status refused. A
// name that no hosted function has is none.
func (s *Set) Call(ctx context.Context, c Call) Result {
	f, ok := s.byName[c.Name]
	if !ok || f.Client {
		return failure("There is no hosted function called %q.", c.Name)
	}
	began := time.Now()
	arguments, err := objectArguments(c.Arguments)
	if err != nil {
		s.refuse(ctx, f, began, apierror.Invalid)
		return failure("The arguments of %s must be one JSON object: %s.", c.Name, err)
	}
	if err := s.authorizeType(f.declaration); err != nil { // a grant may be gone since the request began
		e := apierror.From(err)
		s.refuse(ctx, f, began, e.Code)
		return failure("%s", e.Message)
	}
	row, err := s.toolset.deps.Usage.Begin(ctx, s.start(f, began))
	if err != nil {
		return failure("%s", apierror.From(err).Message)
	}
	result, code := Result{Failed: true}, apierror.Internal // should a panic pass
	defer func() { row.End(ended(ctx, result, code, time.Since(began))) }()
	if f.language != nil {
		result, code = s.runCode(ctx, f, c, arguments)
	} else {
		result, code = s.run(ctx, f, c, arguments)
	}
	return result
}

// run asks the plugin. code says what went wrong beside the result, if anything
// did.
func (s *Set) run(ctx context.Context, f *Function, c Call, arguments json.RawMessage) (_ Result, code apierror.Code) {
	t := s.toolset
	ctx, cancel := context.WithTimeout(ctx, t.limits.Call)
	defer cancel()
	var result tool.Result
	err := s.attempt(ctx, f.Type, f.Effect, func(ctx context.Context, tl tool.Tool, h *tool.Host, attempt int) (err error) {
		result, err = tl.Call(ctx, tool.Call{
			ID: c.ID, Function: f.Object, Arguments: arguments, State: f.state, Attempt: attempt, Traceparent: c.Traceparent,
		}, h)
		return err
	})
	switch {
	case err == nil:
		return t.limits.shape(result), ""
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		t.log.Warn("tool call stopped at its deadline", "function", f.Object, "limit", t.limits.Call)
		return failure("The call of %s was stopped after %s. Ask for less at once.", c.Name, t.limits.Call), apierror.UpstreamTimeout
	case ctx.Err() != nil:
		return failure("The call of %s was canceled.", c.Name), apierror.Canceled
	}
	e := apierror.From(err)
	t.log.Warn("tool call failed", "function", f.Object, "code", e.Code, "error", err)
	if e.Code == apierror.Unavailable && f.Effect == tool.Once {
		return failure("%s It is not known whether the call took effect, so it was not repeated.", e.Message), e.Code
	}
	return failure("%s", e.Message), e.Code
}

// attempt runs one Open or Call of a plugin, and once more with a fresh
// process when the plugin died and effect allows it. Each attempt has a Host
// of its own, whose authority ends with it.
func (s *Set) attempt(ctx context.Context, typ string, effect tool.Effect, run func(ctx context.Context, tl tool.Tool, h *tool.Host, attempt int) error) error {
	var err error
	for n := 1; n <= 2; n++ {
		if err = s.once(ctx, typ, n, run); err == nil || n == 2 {
			break
		}
		if !apierror.Is(err, apierror.Unavailable) || effect == tool.Once || ctx.Err() != nil {
			break
		}
		s.toolset.log.Warn("tool plugin is not there; trying once more", "type", typ, "error", err)
	}
	return err
}

func (s *Set) once(ctx context.Context, typ string, n int, run func(ctx context.Context, tl tool.Tool, h *tool.Host, attempt int) error) (err error) {
	tl, manifest, ok := s.toolset.deps.Tool(typ, s.principal.Name)
	if !ok {
		return apierror.New(apierror.Unavailable, "The plugin for %s tools is not running.", typ)
	}
	ctx, cancel := context.WithCancel(ctx)
	host, end := s.host(ctx, typ, manifest)
	defer cancel()
	defer end()
	defer func() {
		if r := recover(); r != nil {
			s.toolset.log.Error("tool panicked", "type", typ, "panic", fmt.Sprint(r), "stack", string(debug.Stack()))
			err = apierror.New(apierror.Internal, "The tool met an internal error.")
		}
	}()
	return run(ctx, tl, host, n)
}

// objectArguments checks that the model wrote one JSON object; nothing at all
// is an empty one.
func objectArguments(s string) (json.RawMessage, error) {
	if strings.TrimSpace(s) == "" {
		return json.RawMessage("{}"), nil
	}
	var members map[string]json.RawMessage
	dec := json.NewDecoder(strings.NewReader(s))
	if err := dec.Decode(&members); err != nil {
		if _, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
			return nil, fmt.Errorf("they are %s", jsonKind(json.RawMessage(s)))
		}
		return nil, fmt.Errorf("they are not valid JSON (%w)", err)
	}
	if members == nil {
		return nil, errors.New("they are null")
	}
	if rest := strings.TrimSpace(s[dec.InputOffset():]); rest != "" {
		return nil, errors.New("something follows the object")
	}
	return bytes.TrimSpace([]byte(s)), nil
}

func failure(format string, args ...any) Result {
	return Result{Output: openresponses.Output{Text: "Error: " + fmt.Sprintf(format, args...)}, Failed: true}
}

// shape turns a plugin's result into what the model sees: one text, or parts
// when there are images, never more than the limit.
func (l Limits) shape(r tool.Result) Result {
	out := Result{Failed: r.IsError, Citations: r.Citations}
	var text strings.Builder
	var images []openresponses.Part
	for _, c := range r.Content {
		switch {
		case c.Type == "image" && len(c.ImageURL) <= maxImage && strings.HasPrefix(c.ImageURL, "data:") && len(images) < 16:
			images = append(images, openresponses.Part{Type: openresponses.PartInputImage, ImageURL: c.ImageURL, Detail: "auto"})
			continue
		case c.Type == "image":
			c.Text = "[an image was left out: it is too large or no data URL]"
		}
		if c.Text == "" {
			continue
		}
		if text.Len() > 0 {
			text.WriteByte('\n')
		}
		text.WriteString(c.Text)
	}
	if text.Len() == 0 && len(images) == 0 && len(r.Structured) > 0 {
		text.Write(r.Structured)
	}
	s := l.bound(text.String(), r.Truncated)
	if images == nil {
		out.Output.Text = s
		return out
	}
	out.Output.Parts = images
	if s != "" {
		out.Output.Parts = append([]openresponses.Part{{Type: openresponses.PartInputText, Text: s}}, images...)
	}
	return out
}

// bound cuts a text at the limit and says so; a plugin's own mark of a cut is
// passed on when its text does not show it.
func (l Limits) bound(s string, truncated bool) string {
	if len(s) <= l.ResultText {
		if truncated && !strings.Contains(strings.ToLower(s), "truncated") {
			s += "\n[truncated]"
		}
		return s
	}
	cut := l.ResultText
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return fmt.Sprintf("%s\n[truncated: the first %d of %d bytes are shown; ask for less at once]", s[:cut], cut, len(s))
}

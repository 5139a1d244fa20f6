package toolset

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sallyport-gateway/sallyport/core/access"
	"github.com/sallyport-gateway/sallyport/sandbox"
	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/tool"
)

// CodeType is the type of the functions by which a model computes. No
// declaration has it: the gateway offers them by itself.
const CodeType = "code_execution"

// PythonFunction is the dotted name of the function that runs Python.
const PythonFunction = "system.ai.python_exec"

// The values of Code.Offer.
const (
	OfferAlways = "always"            // with every request
	OfferHosted = "with_hosted_tools" // with requests that declare a hosted tool
	OfferNever  = "never"
)

// Code is code execution as the operator wants it.
type Code struct {
	// Sandbox gives what programs run in; nil, or a func that gives nil, means
	// that no program runs.
	Sandbox func() *sandbox.Sandbox
	// Offer says when models are offered to run programs; "" means always.
	// Plugins may do so whatever it says.
	Offer string
	// Languages are those that are offered; nil means all that are there.
	Languages []sandbox.Language
	// Limits are those that the sandbox was given, for what models are told.
	Limits sandbox.Limits
	// TableBytes is how large the copy of a table may be that programs read; what
	// does not fit is left out, and the model is told. 0 means 64 MiB.
	TableBytes int64
	// CacheBytes is how much of such copies is kept for later requests; 0 means
	// 256 MiB.
	CacheBytes int64
}

// language is how models know a language of the sandbox.
type language struct {
	id       sandbox.Language
	function string // its dotted name
	argument string // of the function, with the program
	prompt   string // what the argument is
	about    string // what the function does
	tables   string // how programs read the tables; one %s is their names, another the first
}

// languages in the order in which models see them. The names are those of the
// vendor's functions. Source: Supervisor API, output fixtures.
var languages = []language{
	{sandbox.Python, PythonFunction, "code", "Python source code",
		"Runs Python and returns what it prints and the value of a last expression. Variables, imports and files in the working directory stay for later calls in this answer. The standard library is there; pip is not.",
		`The declared tables are in the dict tables: %[1]s. For example tables[%[2]q] has len(), iteration over rows as dicts, .columns and .rows(), and .df() where pandas can be imported. The same rows are in the SQLite file /data/%[3]s.db (table t) and in /data/%[3]s.csv.`},
	{sandbox.SQL, "system.ai.sql_exec", "query", "SQLite SQL; the rows of the last statement are returned",
		"Runs SQL in a SQLite database of this answer, in memory, and returns the rows of the last statement. Tables that it creates stay for later calls in this answer.",
		`The declared tables can be read under their full names: %[1]s.`},
	{sandbox.Shell, "system.ai.shell_exec", "command", "a POSIX shell script",
		"Runs a shell script with pipes, redirection and the usual text tools (grep, sed, awk, jq, sort, cut, uniq, head, wc and others), and returns what it prints. Files in the working directory stay for later calls in this answer.",
		`The declared tables are the read-only files /data/NAME.csv: %[1]s, for example /data/%[3]s.csv, whose first line has the names of the columns.`},
}

// The sandbox's defaults of what models are told.
const (
	sandboxWall   = 30 * time.Second
	sandboxMemory = 256 << 20
)

// isolation is what every description ends with.
const isolation = "There is no network, and no other data is there."

// codeFunctions adds the functions by which the model may run programs, where
// they are offered. declared is how many hosted tools the request declares.
func (s *Set) codeFunctions(tools []openresponses.Tool, declared int) {
	c := s.toolset.deps.Code
	box := c.box()
	if box == nil || c.Offer == OfferNever || c.Offer == OfferHosted && declared == 0 {
		return
	}
	there := box.Languages()
	for _, l := range languages {
		if !slices.Contains(there, l.id) || c.Languages != nil && !slices.Contains(c.Languages, l.id) {
			continue
		}
		s.hosted = append(s.hosted, &Function{
			Tool: openresponses.Tool{Type: "function", Description: s.describe(l), Parameters: l.parameters()},
			Type: CodeType, Declaration: len(tools), Object: l.function, Effect: tool.Once,
			declaration: &declaration{typ: CodeType, canonical: l.function}, language: &l,
		})
	}
}

func (c Code) box() *sandbox.Sandbox {
	if c.Sandbox == nil {
		return nil
	}
	return c.Sandbox()
}

// describe tells the model what it can do.
func (s *Set) describe(l language) string {
	parts := []string{l.about}
	if names, _ := s.programTables(); len(names) > 0 {
		parts = append(parts, fmt.Sprintf(l.tables, strings.Join(names, ", "), names[0], names[0]))
	}
	limits := s.toolset.deps.Code.Limits
	parts = append(parts, isolation, fmt.Sprintf("A call may take %s and %d MiB of memory.", cmp.Or(limits.Wall, sandboxWall), cmp.Or(limits.Memory, sandboxMemory)>>20))
	return strings.Join(parts, " ")
}

func (l language) parameters() json.RawMessage {
	b, err := json.Marshal(map[string]any{
		"type":                 "object",
		"properties":           map[string]any{l.argument: map[string]string{"type": "string", "description": l.prompt}},
		"required":             []string{l.argument},
		"additionalProperties": false,
	})
	if err != nil {
		panic(err) // of constants
	}
	return b
}

// program is the one argument of a call.
func (l language) program(arguments json.RawMessage) (string, error) {
	var given map[string]json.RawMessage
	if err := json.Unmarshal(arguments, &given); err != nil {
		return "", err
	}
	text, err := requiredProgram(given, l.argument)
	if err != nil {
		return "", err
	}
	if len(given) > 1 {
		return "", fmt.Errorf("only %q is read", l.argument)
	}
	return text, nil
}

func requiredProgram(given map[string]json.RawMessage, name string) (string, error) {
	raw := present(given[name])
	if raw == nil {
		return "", fmt.Errorf("%q is missing", name)
	}
	var text string
	if json.Unmarshal(raw, &text) != nil {
		return "", fmt.Errorf("%q must be a string, not %s", name, jsonKind(raw))
	}
	if len(text) > sandbox.MaxCode {
		return "", fmt.Errorf("%q has %d bytes; at most %d are run", name, len(text), sandbox.MaxCode)
	}
	return text, nil
}

// who is the principal to the sandbox. A user and a service principal of one
// name are two.
func who(p *access.Principal) string { return fmt.Sprintf("%s %s", p.Kind, p.Name) }

// session is the state of a request's programs. It is made with the first one.
type session struct {
	mu     sync.Mutex
	closed bool
	opened *sandbox.Session
	images []*image // its tables

	missing []string // a sentence for each table that is not there
}

// open makes the session for the tables, unless it is there.
func (n *session) open(ctx context.Context, s *Set) (*sandbox.Session, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return nil, errEnded()
	}
	if n.opened != nil && n.allowed(s) {
		return n.opened, nil
	}
	n.end()
	box := s.toolset.deps.Code.box()
	if box == nil {
		return nil, noCode()
	}
	images, notes, err := s.images(ctx, box)
	if err != nil {
		return nil, err
	}
	tables := make([]sandbox.Table, len(images))
	for i, im := range images {
		tables[i] = im.table
	}
	if n.opened, err = box.Open(ctx, who(s.principal), tables); err != nil {
		release(images)
		return nil, err
	}
	n.images, n.missing = images, notes
	return n.opened, nil
}

// close ends the session and gives its tables back. The programs have ended, or
// end now.
func (n *session) close() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.closed = true
	n.end()
}

// end takes the sandbox's session away.
func (n *session) end() {
	if n.opened != nil {
		n.opened.Close()
		n.opened = nil
	}
	release(n.images)
	n.images, n.missing = nil, nil
}

// allowed reports whether the caller may still read what the session sees. One
// that sees more is not used again.
func (n *session) allowed(s *Set) bool {
	for _, im := range n.images {
		if s.view.Check(access.Table, im.table.Name, access.Select.String()) != nil {
			return false
		}
	}
	return true
}

// notes has a sentence for each table that is not there, or not whole.
func (n *session) notes() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	notes := slices.Clone(n.missing)
	for _, im := range n.images {
		if im.table.Cut {
			notes = append(notes, fmt.Sprintf("Of the table %s only the first %d rows are here: it is too large for a program.", im.table.Name, im.table.Rows))
		}
	}
	return notes
}

func noCode() error {
	return apierror.New(apierror.Unsupported, "This gateway runs no programs: an administrator has not set up code execution.")
}

// Close ends what the request's calls have left: the session of its programs.
// Call it when all of them have ended.
func (s *Set) Close() { s.session.close() }

// runCode runs one program of the model.
func (s *Set) runCode(ctx context.Context, f *Function, c Call, arguments json.RawMessage) (Result, apierror.Code) {
	text, err := f.language.program(arguments)
	if err != nil {
		return failure("The arguments of %s are not right: %s.", c.Name, err), apierror.Invalid
	}
	// Only the copying has its limit here: the sandbox has its own for how long a
	// program waits, and for how long it runs.
	copying, cancel := context.WithTimeout(ctx, s.toolset.limits.Call)
	open, err := s.session.open(copying, s)
	cancel()
	var r sandbox.Result
	if err == nil {
		r, err = open.Exec(ctx, sandbox.Program{Language: f.language.id, Code: text})
	}
	switch {
	case err == nil:
		return s.toolset.limits.codeResult(f.language.id, r, s.session.notes()), ""
	case ctx.Err() != nil:
		return failure("The call of %s was canceled.", c.Name), apierror.Canceled
	case open == nil && errors.Is(copying.Err(), context.DeadlineExceeded):
		s.toolset.log.Warn("program was not run: its tables took too long to copy", "function", f.Object, "limit", s.toolset.limits.Call)
		return failure("The program was not run: its tables could not be copied for it within %s.", s.toolset.limits.Call), apierror.UpstreamTimeout
	}
	e := codeError(err)
	s.toolset.log.Warn("program could not be run", "function", f.Object, "code", e.Code, "error", err)
	return failure("%s", e.Message), e.Code
}

// codeError is what the sandbox could not do, in words for the model. Programs
// that fail are no errors.
func codeError(err error) *apierror.Error {
	if e, ok := errors.AsType[*apierror.Error](err); ok {
		return e
	}
	switch {
	case errors.Is(err, sandbox.ErrPreparing):
		return apierror.Wrap(apierror.RateLimited, err, "The program was not run: this gateway is still preparing to run programs, which takes up to a few minutes after its start. Try again later, or answer without it.")
	case errors.Is(err, sandbox.ErrShare):
		return apierror.Wrap(apierror.RateLimited, err, "The program was not run: this user has too many programs waiting already. Run fewer at once, or try again when some have ended.")
	case errors.Is(err, sandbox.ErrBusy):
		return apierror.Wrap(apierror.RateLimited, err, "The program was not run: its turn did not come in time, since others run on this gateway. Try again, or answer without it.")
	case errors.Is(err, sandbox.ErrClosed), errors.Is(err, context.Canceled):
		return apierror.Wrap(apierror.Canceled, err, "The program was not run: its request is over.")
	case errors.Is(err, sandbox.ErrNoGuests):
		return apierror.Wrap(apierror.Unsupported, err, "The program was not run: this gateway runs none in this language at the moment. Use another, or answer without it.")
	}
	return apierror.Wrap(apierror.Unavailable, err, "The program could not be run: code execution has failed on this gateway. Its log tells an administrator why. Try again once, or answer without it.")
}

// exec runs a program of a plugin, with the authority of the declaration it
// serves: it sees the tables that the request declares, and nothing stays.
func (s *Set) exec(ctx context.Context, p tool.Program) (tool.Output, error) {
	var own session
	defer own.close()
	id := sandbox.Language(p.Language)
	if !slices.ContainsFunc(languages, func(l language) bool { return l.id == id }) {
		return tool.Output{}, apierror.New(apierror.Invalid, "The code sandbox runs python, sql and shell, not %q.", shorten(p.Language))
	}
	open, err := own.open(ctx, s)
	if err != nil {
		return tool.Output{}, codeError(err)
	}
	r, err := open.Exec(ctx, sandbox.Program{Language: id, Code: p.Code})
	if err != nil {
		return tool.Output{}, codeError(err)
	}
	out := tool.Output{Stdout: r.Stdout, Stderr: r.Stderr, Truncated: r.Truncated}
	switch {
	case r.Killed != "":
		out.Error = killed(r.Killed)
	case r.Exit != 0:
		out.Error = fmt.Sprintf("the program ended with exit code %d", r.Exit)
	}
	if id == sandbox.SQL && r.Columns != nil {
		rows, err := json.Marshal(codeOutput{IsTruncated: r.Truncated, Columns: r.Columns, Rows: r.Rows})
		if err != nil {
			return tool.Output{}, apierror.Wrap(apierror.Internal, err, "The rows of the program cannot be written as JSON.")
		}
		out.Stdout += string(rows)
	}
	return out, nil
}

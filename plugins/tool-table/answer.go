package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/engine"
	"github.com/sallyport-gateway/sallyport/sdk/tool"
)

// What one query may give the model: more would only fill its context.
const (
	maxRows  = 1000
	maxBytes = 64 << 10
)

// arguments reads {"sql": "…"} exactly, and else says what is wrong.
func arguments(raw json.RawMessage) (sql, problem string) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(raw, &members); err != nil || members == nil {
		return "", "The arguments are not a JSON object."
	}
	for name := range members {
		if name != "sql" {
			return "", fmt.Sprintf("There is no argument %s.", quote(clip(name, 64)))
		}
	}
	value, ok := members["sql"]
	if !ok {
		return "", `The argument "sql" is missing.`
	}
	var s *string
	if err := json.Unmarshal(value, &s); err != nil || s == nil {
		return "", `The argument "sql" is not a string.`
	}
	if len(bytes.TrimSpace([]byte(*s))) == 0 {
		return "", `The argument "sql" is empty.`
	}
	return *s, ""
}

// answer collects what a query gives.
type answer struct {
	columns   []engine.Column
	rows      []json.RawMessage
	size      int
	truncated bool
}

// add takes a batch, and reports when no more fits: the bounds hold also when
// the Host gives more than was asked for.
func (a *answer) add(b engine.Batch) (full bool, err error) {
	if a.columns == nil {
		a.columns = b.Columns
	}
	for _, r := range b.Rows {
		if !json.Valid(r) {
			return true, errors.New("the engine gave a row that is no JSON")
		}
		if len(a.rows) == maxRows || a.size+len(r) > maxBytes {
			a.truncated = true
			return true, nil
		}
		a.rows, a.size = append(a.rows, r), a.size+len(r)
	}
	a.truncated = a.truncated || b.Truncated
	return false, nil
}

// result writes {"is_truncated", "columns", "rows"}, the rows as the engine
// wrote them, so that no digit is lost. A member "note" says what a reader of
// the rows alone might miss.
func (a *answer) result() (tool.Result, error) {
	var out bytes.Buffer
	fmt.Fprintf(&out, `{"is_truncated":%t,"columns":[`, a.truncated)
	for i, c := range a.columns {
		if i > 0 {
			out.WriteByte(',')
		}
		if err := plain(&out, c.Name); err != nil {
			return tool.Result{}, err
		}
	}
	out.WriteString(`],"rows":[`)
	for i, r := range a.rows {
		if i > 0 {
			out.WriteByte(',')
		}
		out.Write(r)
	}
	out.WriteByte(']')
	if note := a.note(); note != "" {
		out.WriteString(`,"note":`)
		if err := plain(&out, note); err != nil {
			return tool.Result{}, err
		}
	}
	out.WriteByte('}')
	r := tool.Text(out.String())
	r.Structured, r.Truncated = out.Bytes(), a.truncated
	return r, nil
}

func (a *answer) note() string {
	switch {
	case a.truncated && len(a.rows) == 0:
		return fmt.Sprintf("The first row alone is larger than %d KiB. Select fewer or shorter columns.", maxBytes>>10)
	case a.truncated:
		return fmt.Sprintf("Only the first %d rows are shown; there are more. Aggregate in SQL, add a WHERE or LIMIT, or select fewer columns.", len(a.rows))
	case len(a.rows) == 0:
		return "The query ran; no row matches."
	}
	return ""
}

// fail decides who hears of an error. What is wrong with the SQL, or with what
// it may read, is for the model; the rest is for the gateway, which may try
// again. Rows that came before do not count.
func (a *answer) fail(err error) (tool.Result, error) {
	e, ok := errors.AsType[*apierror.Error](err)
	if !ok {
		return tool.Result{}, err
	}
	switch e.Code {
	case apierror.Invalid, apierror.Unsupported, apierror.Denied, apierror.NotFound, apierror.TooLarge:
		return failed(e.Message), nil
	}
	return tool.Result{}, err
}

// failed is a Result that tells the model what went wrong.
func failed(text string) tool.Result {
	r := tool.Text(text)
	r.IsError = true
	return r
}

// plain writes s as a JSON string with < and > as they are.
func plain(out *bytes.Buffer, s string) error {
	e := json.NewEncoder(out)
	e.SetEscapeHTML(false)
	if err := e.Encode(s); err != nil {
		return err
	}
	out.Truncate(out.Len() - 1) // Encode ends with a new line
	return nil
}

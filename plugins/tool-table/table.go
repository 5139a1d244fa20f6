package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/tool"
)

// sampling is how many tables of one request are sampled side by side: each
// costs the gateway an engine process.
const sampling = 4

// tables is the tool. Its only state is a cache.
type tables struct{ cache *cache }

var _ tool.Tool = (*tables)(nil)

func newTables() *tables { return &tables{cache: newCache(cachedTables)} }

// declared is a table of one request.
type declared struct {
	tool.Declaration
	object  tool.Object
	samples samples
}

// Open gives one function for each declared table. Its description holds all
// that the model needs to write SQL without a look at the table first.
func (t *tables) Open(ctx context.Context, ds []tool.Declaration, h *tool.Host) (tool.Opened, error) {
	all := make([]declared, len(ds))
	errs := make([]error, len(ds))
	slots := make(chan struct{}, sampling)
	var wg sync.WaitGroup
	for i, d := range ds {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			all[i], errs[i] = t.look(ctx, d, h)
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return tool.Opened{}, err // the code is that of the first declaration at fault
	}
	var out tool.Opened
	for _, d := range all {
		out.Functions = append(out.Functions, tool.Function{
			Declaration: d.Index, Name: d.object.Name, Effect: tool.ReadOnly,
			Description: describe(d, others(d, all)), Parameters: parameters(d.object),
		})
	}
	return out, nil
}

// look finds out what there is to tell about one table.
func (t *tables) look(ctx context.Context, d tool.Declaration, h *tool.Host) (declared, error) {
	param := fmt.Sprintf("tools[%d].table.name", d.Index)
	if d.Object == "" {
		return declared{}, apierror.At(apierror.Invalid, param, `A table tool needs the table's name: {"type": "table", "table": {"name": "catalog.schema.table"}}.`)
	}
	// The Host is asked at every Open, also when the samples are cached: what
	// it says is what this caller may see now.
	o, err := h.Object(ctx, "table", d.Object)
	if err != nil {
		return declared{}, at(param, fmt.Errorf("table %q: %w", d.Object, err))
	}
	if o.Name == "" {
		o.Name = d.Object
	}
	s, err := t.cache.get(ctx, o, h)
	if err != nil {
		return declared{}, at(param, fmt.Errorf("table %q: sample: %w", o.Name, err))
	}
	if len(o.Columns) == 0 {
		o.Columns = s.columns
	}
	return declared{Declaration: d, object: o, samples: s}, nil
}

// at says which field of the request an error is about, if it does not.
func at(param string, err error) error {
	e, ok := errors.AsType[*apierror.Error](err)
	if !ok || e.Param != "" {
		return err
	}
	about := *e
	about.Param = param
	return &about
}

// others lists the other tables of the request, each once.
func others(d declared, all []declared) []string {
	var names []string
	seen := map[string]bool{d.object.Name: true}
	for _, o := range all {
		if !seen[o.object.Name] {
			seen[o.object.Name] = true
			names = append(names, o.object.Name)
		}
	}
	return names
}

// parameters is the JSON Schema of a table's function.
func parameters(o tool.Object) json.RawMessage {
	type property struct {
		Type        string `json:"type"`
		Description string `json:"description"`
	}
	b, err := json.Marshal(struct {
		Type       string              `json:"type"`
		Properties map[string]property `json:"properties"`
		Required   []string            `json:"required"`
		Additional bool                `json:"additionalProperties"`
	}{
		Type:       "object",
		Properties: map[string]property{"sql": {"string", fmt.Sprintf("One SELECT statement in %s that reads FROM %s.", dialect(o), shown(o.Name))}},
		Required:   []string{"sql"},
	})
	if err != nil { // of strings: cannot fail
		return json.RawMessage(`{"type":"object"}`)
	}
	return b
}

// Call runs one query. What the model can mend is a Result that says so; what
// it cannot is an error.
func (t *tables) Call(ctx context.Context, c tool.Call, h *tool.Host) (tool.Result, error) {
	sql, problem := arguments(c.Arguments)
	if problem != "" {
		return failed(fmt.Sprintf(`%s The arguments must be {"sql": "SELECT … FROM %s …"}.`, problem, shown(c.Function))), nil
	}
	a := answer{}
	for b, err := range h.Query(ctx, tool.Query{SQL: sql, MaxRows: maxRows, MaxBytes: maxBytes}) {
		if err != nil {
			return a.fail(fmt.Errorf("query %q: %w", c.Function, err))
		}
		full, err := a.add(b)
		if err != nil {
			return tool.Result{}, fmt.Errorf("query %q: %w", c.Function, err)
		}
		if full {
			break
		}
	}
	return a.result()
}

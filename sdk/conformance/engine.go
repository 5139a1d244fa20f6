package conformance

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/engine"
	"github.com/sallyport-gateway/sallyport/sdk/golden"
)

// query is one query of the author's dialogues.
type query struct {
	name string
	q    engine.Query
	want string // the result, in canonical form
}

// checkQueries plays the author's dialogues.
func (c *checker) checkQueries(ctx context.Context) {
	as := c.archives("file", "query", "inspect", "result")
	if len(as) == 0 {
		c.skip = "there are no dialogues"
		return
	}
	for _, a := range as {
		if !c.playEngine(ctx, a) {
			return
		}
	}
}

func (c *checker) playEngine(ctx context.Context, a *golden.Archive) bool {
	root := c.data
	if root == "" {
		root = c.base
	}
	dir, err := os.MkdirTemp(root, "data-")
	if err != nil {
		c.find("dialogue-unreadable", a.Path, err.Error())
		return false
	}
	var q engine.Query
	for i, s := range a.Sections {
		p := c.process(ctx)
		if p == nil {
			return false
		}
		within, cancel := c.within(ctx)
		client := engine.NewClient(p.conn)
		name, isFile := strings.CutPrefix(s.Name, "file ")
		switch {
		case isFile:
			err = os.WriteFile(filepath.Join(dir, filepath.Base(name)), []byte(s.Text), 0o600)
		case s.Name == "query":
			var in golden.Query
			if err = a.ReadJSON(i, &in); err == nil {
				q, err = in.Engine(dir, filepath.Dir(a.Path))
			}
		case s.Name == "inspect":
			st, ierr := client.Inspect(within, q.SQL)
			c.compare(a, i, golden.OrError(st, ierr))
		case s.Name == "result":
			b, rerr := c.batches(within, client, q)
			if !c.answered(within, p, q.SQL, rerr) && c.compare(a, i, golden.OrError(b, rerr)) && rerr == nil {
				c.queries = append(c.queries, &query{a.Name(), q, line(b)})
			}
		}
		cancel()
		if err != nil {
			c.find("dialogue-unreadable", a.Path, err.Error())
			return true
		}
		if !c.alive(a.Name()) {
			return false
		}
	}
	return true
}

func (c *checker) compare(a *golden.Archive, i int, got any) bool {
	same, text, err := a.Same(i, got)
	if err != nil {
		c.find("dialogue-unreadable", a.Path, err.Error())
	} else if !same {
		c.find("golden-differs", fmt.Sprintf("the dialogue %s, section %s", a.Name(), a.Sections[i].Name), difference(text, a.Sections[i].Text))
	}
	return err == nil && same
}

// batches puts the batches of a query together and checks their form.
func (c *checker) batches(ctx context.Context, client engine.Engine, q engine.Query) (engine.Batch, error) {
	var sum engine.Batch
	first := true
	for b, err := range client.Query(ctx, q) {
		if err != nil {
			return sum, err
		}
		if first {
			sum.Columns = b.Columns
		}
		first = false
		sum.Rows = append(sum.Rows, b.Rows...)
		sum.Truncated = sum.Truncated || b.Truncated
	}
	if len(sum.Columns) == 0 {
		return sum, apierror.New(apierror.Internal, "The first batch has no columns.")
	}
	for i, r := range sum.Rows {
		var values []json.RawMessage
		if err := json.Unmarshal(r, &values); err != nil || len(values) != len(sum.Columns) {
			return sum, apierror.New(apierror.Internal, "Row %d is %s, want an array of %d values.", i, r, len(sum.Columns))
		}
	}
	return sum, nil
}

// checkNoSQL asks for what is no SQL. The author of the text can mend it, so
// the code is invalid.
func (c *checker) checkNoSQL(ctx context.Context) {
	for _, sql := range []string{"", "   ", "selec nonsense(", "'", "\x00", strings.Repeat("a", golden.Large)} {
		p := c.process(ctx)
		if p == nil {
			return
		}
		within, cancel := c.within(ctx)
		client := engine.NewClient(p.conn)
		_, inspected := client.Inspect(within, sql)
		var queried error
		for _, err := range client.Query(within, engine.Query{SQL: sql}) {
			queried = err
		}
		cancel()
		for what, err := range map[string]error{"Inspect": inspected, "Query": queried} {
			sent := fmt.Sprintf("%s %q", what, cut(sql, 40))
			if !c.alive(sent) {
				return
			}
			if !apierror.Is(err, apierror.Invalid) && !(apierror.Is(err, apierror.TooLarge) && len(sql) == golden.Large) {
				c.find("error-without-code", sent, fmt.Sprintf("%v, want the code invalid", err))
			}
		}
	}
}

// checkQueriesTogether runs queries side by side, and leaves some early.
func (c *checker) checkQueriesTogether(ctx context.Context) {
	if len(c.queries) == 0 {
		c.skip = "no dialogue has a result"
		return
	}
	p := c.process(ctx)
	if p == nil {
		return
	}
	client := engine.NewClient(p.conn)
	within, cancel := context.WithTimeout(ctx, 3*c.cfg.Patience) // each may cost a process
	defer cancel()
	var wrong complaints
	together(sideBySide, func(i int) {
		k := c.queries[i%len(c.queries)]
		if i%4 == 3 {
			for range client.Query(within, k.q) {
				break
			}
			return
		}
		b, err := c.batches(within, client, k.q)
		if got := line(b); err != nil || got != k.want {
			wrong.add(k.name+", with others side by side", "%v, %s", err, difference(got, k.want))
		}
	})
	if !c.alive("queries side by side") {
		return
	}
	for _, w := range wrong.list {
		c.find("calls-mixed", w[0], w[1])
	}
}

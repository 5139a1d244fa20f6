package golden

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/sallyport-gateway/sallyport/sdk/tool"
)

// ToolDialogue is one dialogue with a tool. Its sections are described at
// plugintest.Tool.
type ToolDialogue struct {
	*Archive
	Declarations []tool.Declaration
	Host         []byte // the section host, for NewScript
	Opened       int    // index of the section
	Calls        []CallOf

	Functions []tool.Function // what Open gave; set by Play
}

// CallOf is a call, and the section that holds its result.
type CallOf struct {
	Call   tool.Call
	Result int
}

// ReadTool reads an archive as a dialogue with a tool.
func ReadTool(a *Archive) (*ToolDialogue, error) {
	d := &ToolDialogue{Archive: a, Opened: -1}
	for i, s := range a.Sections {
		switch s.Name {
		case "declarations":
			if err := a.ReadJSON(i, &d.Declarations); err != nil {
				return nil, err
			}
		case "host":
			d.Host = []byte(s.Text)
		case "opened":
			d.Opened = i
		case "call":
			var c tool.Call
			if err := a.ReadJSON(i, &c); err != nil {
				return nil, err
			}
			if i+1 == len(a.Sections) || a.Sections[i+1].Name != "result" {
				return nil, fmt.Errorf("%s: section call is not followed by result", a.Path)
			}
			d.Calls = append(d.Calls, CallOf{c, i + 1})
		}
	}
	if d.Opened < 0 || len(d.Declarations) == 0 {
		return nil, fmt.Errorf("%s: sections declarations and opened are needed", a.Path)
	}
	return d, nil
}

// Play plays the dialogue: it opens the declarations, makes the calls, and
// gives each answer, a value or a Failure, with the index of its section to
// see. The answers to Host calls come from h. It remembers the functions when
// none are known yet.
func (d *ToolDialogue) Play(ctx context.Context, t tool.Tool, h *tool.Host, see func(section int, got any)) error {
	o, err := t.Open(ctx, d.Declarations, h)
	see(d.Opened, OrError(o, err))
	if err == nil && d.Functions == nil {
		d.Functions = o.Functions
	}
	for _, c := range d.Calls {
		call, err := d.Filled(c.Call)
		if err != nil {
			return err
		}
		r, err := t.Call(ctx, call, h)
		see(c.Result, OrError(r, err))
	}
	return nil
}

// Filled is a call as the gateway makes it, with what Open said.
func (d *ToolDialogue) Filled(c tool.Call) (tool.Call, error) {
	for _, f := range d.Functions {
		if f.Name == c.Function {
			c.State = f.State
			return c, nil
		}
	}
	return c, fmt.Errorf("%s: a call of %q, which Open did not give", d.Path, c.Function)
}

// Sample is a call for each function: the first of the dialogue, or one
// without arguments.
func (d *ToolDialogue) Sample() []tool.Call {
	var cs []tool.Call
	for _, f := range d.Functions {
		c := tool.Call{ID: "call_sample", Function: f.Name, Arguments: json.RawMessage(`{}`), State: f.State, Attempt: 1}
		for _, p := range d.Calls {
			if p.Call.Function == f.Name {
				c = p.Call
				c.State = f.State
				break
			}
		}
		cs = append(cs, c)
	}
	return cs
}

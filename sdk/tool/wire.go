package tool

import (
	"maps"
	"net/http"
	"slices"

	"github.com/sallyport-gateway/sallyport/sdk/engine"
	"github.com/sallyport-gateway/sallyport/sdk/internal/fault"
	toolv1 "github.com/sallyport-gateway/sallyport/sdk/proto/tool/v1"
)

// MaxMessage is the largest message between gateway and tool, in bytes. A
// server that Register is used with must take messages of this size.
const MaxMessage = fault.MaxMessage

func encodeDeclarations(ds []Declaration) *toolv1.OpenRequest {
	out := &toolv1.OpenRequest{}
	for _, d := range ds {
		out.Declarations = append(out.Declarations, &toolv1.Declaration{
			Index: int64(d.Index), Name: fault.Text(d.Name), Description: fault.Text(d.Description), Object: fault.Text(d.Object), Spec: d.Spec,
		})
	}
	return out
}

func decodeDeclarations(p *toolv1.OpenRequest) []Declaration {
	var out []Declaration
	for _, d := range p.GetDeclarations() {
		out = append(out, Declaration{
			Index: int(d.GetIndex()), Name: d.GetName(), Description: d.GetDescription(), Object: d.GetObject(), Spec: d.GetSpec(),
		})
	}
	return out
}

func encodeOpened(o Opened) *toolv1.Opened {
	out := &toolv1.Opened{}
	for _, f := range o.Functions {
		out.Functions = append(out.Functions, &toolv1.Function{
			Declaration: int64(f.Declaration), Name: fault.Text(f.Name), Description: fault.Text(f.Description), Parameters: f.Parameters,
			Effect: toolv1.Effect(f.Effect), Approval: toolv1.Approval(f.Approval), State: f.State,
		})
	}
	for _, c := range o.Connections {
		out.Connections = append(out.Connections, &toolv1.Connection{Declaration: int64(c.Declaration), Name: fault.Text(c.Name)})
	}
	return out
}

func decodeOpened(p *toolv1.Opened) Opened {
	var out Opened
	for _, f := range p.GetFunctions() {
		out.Functions = append(out.Functions, Function{
			Declaration: int(f.GetDeclaration()), Name: f.GetName(), Description: f.GetDescription(), Parameters: f.GetParameters(),
			Effect: decodeEffect(f.GetEffect()), Approval: decodeApproval(f.GetApproval()), State: f.GetState(),
		})
	}
	for _, c := range p.GetConnections() {
		out.Connections = append(out.Connections, Connection{Declaration: int(c.GetDeclaration()), Name: c.GetName()})
	}
	return out
}

// decodeEffect takes what it does not know for the careful value.
func decodeEffect(e toolv1.Effect) Effect {
	switch e {
	case toolv1.Effect_EFFECT_IDEMPOTENT:
		return Idempotent
	case toolv1.Effect_EFFECT_READ_ONLY:
		return ReadOnly
	}
	return Once
}

// decodeApproval takes what it does not know for the careful value.
func decodeApproval(a toolv1.Approval) Approval {
	switch a {
	case toolv1.Approval_APPROVAL_NEVER:
		return Never
	case toolv1.Approval_APPROVAL_BACKGROUND:
		return Background
	}
	return Always
}

func encodeCall(c Call) *toolv1.CallRequest {
	return &toolv1.CallRequest{
		Id: fault.Text(c.ID), Function: fault.Text(c.Function), Arguments: c.Arguments, State: c.State,
		Attempt: int64(c.Attempt), Traceparent: fault.Text(c.Traceparent),
	}
}

func decodeCall(p *toolv1.CallRequest) Call {
	return Call{
		ID: p.GetId(), Function: p.GetFunction(), Arguments: p.GetArguments(), State: p.GetState(),
		Attempt: int(p.GetAttempt()), Traceparent: p.GetTraceparent(),
	}
}

func encodeResult(r Result) *toolv1.Result {
	out := &toolv1.Result{Structured: r.Structured, IsError: r.IsError, Truncated: r.Truncated}
	for _, c := range r.Content {
		out.Content = append(out.Content, &toolv1.Content{Type: fault.Text(c.Type), Text: fault.Text(c.Text), ImageUrl: fault.Text(c.ImageURL)})
	}
	for _, c := range r.Citations {
		out.Citations = append(out.Citations, &toolv1.Citation{Url: fault.Text(c.URL), Title: fault.Text(c.Title)})
	}
	return out
}

func decodeResult(p *toolv1.Result) Result {
	out := Result{Structured: p.GetStructured(), IsError: p.GetIsError(), Truncated: p.GetTruncated()}
	for _, c := range p.GetContent() {
		out.Content = append(out.Content, Content{Type: c.GetType(), Text: c.GetText(), ImageURL: c.GetImageUrl()})
	}
	for _, c := range p.GetCitations() {
		out.Citations = append(out.Citations, Citation{URL: c.GetUrl(), Title: c.GetTitle()})
	}
	return out
}

func encodeObject(o Object) *toolv1.Object {
	return &toolv1.Object{
		Kind: fault.Text(o.Kind), Name: fault.Text(o.Name), Comment: fault.Text(o.Comment), Columns: engine.EncodeColumns(o.Columns),
		Version: fault.Text(o.Version), Format: fault.Text(o.Format), Dialect: fault.Text(o.Dialect), Spec: o.Spec,
	}
}

func decodeObject(p *toolv1.Object) Object {
	return Object{
		Kind: p.GetKind(), Name: p.GetName(), Comment: p.GetComment(), Columns: engine.DecodeColumns(p.GetColumns()),
		Version: p.GetVersion(), Format: p.GetFormat(), Dialect: p.GetDialect(), Spec: p.GetSpec(),
	}
}

func encodeHeader(h http.Header) []*toolv1.Header {
	var out []*toolv1.Header
	for _, name := range slices.Sorted(maps.Keys(h)) {
		out = append(out, &toolv1.Header{Name: fault.Text(name), Values: fault.Texts(h[name])})
	}
	return out
}

func decodeHeader(ps []*toolv1.Header) http.Header {
	if len(ps) == 0 {
		return nil
	}
	out := make(http.Header, len(ps))
	for _, p := range ps {
		for _, v := range p.GetValues() {
			out.Add(p.GetName(), v)
		}
	}
	return out
}

func encodeVectors(vs [][]float32) *toolv1.Vectors {
	out := &toolv1.Vectors{}
	for _, v := range vs {
		out.Vectors = append(out.Vectors, &toolv1.Vector{Values: v})
	}
	return out
}

func decodeVectors(p *toolv1.Vectors) [][]float32 {
	var out [][]float32
	for _, v := range p.GetVectors() {
		out = append(out, v.GetValues())
	}
	return out
}

func encodeEntries(es []Entry) *toolv1.Entries {
	out := &toolv1.Entries{}
	for _, e := range es {
		out.Entries = append(out.Entries, &toolv1.Entry{Name: fault.Text(e.Name), Size: e.Size, Dir: e.Dir})
	}
	return out
}

func decodeEntries(p *toolv1.Entries) []Entry {
	var out []Entry
	for _, e := range p.GetEntries() {
		out = append(out, Entry{Name: e.GetName(), Size: e.GetSize(), Dir: e.GetDir()})
	}
	return out
}

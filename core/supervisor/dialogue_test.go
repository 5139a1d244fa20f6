package supervisor_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/sallyport-gateway/sallyport/core/supervisor"
	"github.com/sallyport-gateway/sallyport/core/supervisor/lint"
	"github.com/sallyport-gateway/sallyport/core/supervisor/render"
	"github.com/sallyport-gateway/sallyport/core/toolset"
	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
)

var update = flag.Bool("update", false, "rewrite the golden sections of testdata/*.txtar")

// TestDialogues plays each testdata/*.txtar in the three dialects, streamed
// and not. A file holds the request, the model's script, and what is expected:
// the requests that the model saw, and per dialect the response and the
// events. Every response and stream must pass lint, and both ways must say the
// same.
func TestDialogues(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no dialogues: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			t.Parallel()
			dialogue(t, file)
		})
	}
}

func dialogue(t *testing.T, file string) {
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	archive := txtar.Parse(b)
	section := map[string]string{}
	for _, f := range archive.Files {
		section[f.Name] = string(f.Data)
	}
	w := newWorld(t, supervisor.Limits{}, toolset.Limits{})
	got := map[string]string{}
	for _, d := range render.Dialects {
		model := parseScript(t, section["model"])
		w.model = model.generate
		plain, err := w.run(t, t.Context(), d, section["request"], nil)
		name := string(d)
		if err != nil {
			got[name] = fmt.Sprintf("error %s\n", errorLine(err))
		} else {
			if err := lint.Response(d, plain); err != nil {
				t.Errorf("%s: response: %v", d, err)
			}
			got[name] = summary(t, plain)
		}
		if d == render.Databricks {
			got["asked"] = asked(model.asked)
		}

		model = parseScript(t, section["model"])
		w.model = model.generate
		var events []render.Event
		streamed, err := w.run(t, t.Context(), d, section["request"], func(e render.Event) error {
			events = append(events, e)
			return nil
		})
		name += ".events"
		if err != nil {
			got[name] = fmt.Sprintf("error %s\n", errorLine(err))
			if len(events) > 0 {
				t.Errorf("%s: %d events before the error %v", d, len(events), err)
			}
			continue
		}
		if err := lint.Stream(d, events); err != nil {
			t.Errorf("%s: stream: %v", d, err)
		}
		got[name] = transcript(t, events)
		if s := summary(t, streamed); plain != nil && s != got[string(d)] {
			t.Errorf("%s: the streamed response is\n%sand the plain one\n%s", d, s, got[string(d)])
		}
		var last struct{ Response json.RawMessage }
		if err := json.Unmarshal(events[len(events)-1].Data, &last); err != nil || !bytes.Equal(last.Response, streamed) {
			t.Errorf("%s: the terminal event does not hold the returned response (%v)", d, err)
		}
	}
	if *update {
		rewrite(t, file, archive, got)
		return
	}
	for name, g := range got {
		if want := section[name]; g != want {
			t.Errorf("%s:\n%s\nwant\n%s", name, g, want)
		}
	}
}

func rewrite(t *testing.T, file string, archive *txtar.Archive, got map[string]string) {
	var kept []txtar.File
	for _, f := range archive.Files {
		if _, ok := got[f.Name]; !ok && (f.Name == "request" || f.Name == "model") {
			kept = append(kept, f)
		}
	}
	for _, name := range []string{"asked", "databricks", "databricks.events", "openai", "openai.events", "openresponses", "openresponses.events"} {
		kept = append(kept, txtar.File{Name: name, Data: []byte(got[name])})
	}
	archive.Files = kept
	if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
		t.Fatal(err)
	}
}

var (
	ids   = regexp.MustCompile(`(resp|msg|fc|fco|rs|mcp|mcpl|mcpr|ci|ws|cmp|call)_[0-9a-f]{32}`)
	times = regexp.MustCompile(`"(created_at|completed_at)":[0-9]+`)
)

// normal replaces ids by numbered ones, in order of appearance, and times.
func normal(s string) string {
	names := map[string]string{}
	count := map[string]int{}
	s = ids.ReplaceAllStringFunc(s, func(id string) string {
		if names[id] == "" {
			prefix, _, _ := strings.Cut(id, "_")
			count[prefix]++
			names[id] = fmt.Sprintf("%s_%d", prefix, count[prefix])
		}
		return names[id]
	})
	return times.ReplaceAllString(s, `"$1":0`)
}

// summary is what changes in a response from run to run, an item a line.
func summary(t *testing.T, response []byte) string {
	var r struct {
		Status            string            `json:"status"`
		IncompleteDetails json.RawMessage   `json:"incomplete_details"`
		Error             json.RawMessage   `json:"error"`
		Output            []json.RawMessage `json:"output"`
		Usage             json.RawMessage   `json:"usage"`
	}
	if err := json.Unmarshal(response, &r); err != nil {
		t.Fatalf("response: %v\n%s", err, response)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "status %s\n", r.Status)
	if string(r.IncompleteDetails) != "null" {
		fmt.Fprintf(&b, "incomplete_details %s\n", r.IncompleteDetails)
	}
	if string(r.Error) != "null" {
		fmt.Fprintf(&b, "error %s\n", r.Error)
	}
	for _, it := range r.Output {
		fmt.Fprintf(&b, "%s\n", it)
	}
	fmt.Fprintf(&b, "usage %s\n", r.Usage)
	return normal(b.String())
}

// transcript is the events, one a line; of the responses in them only id and
// status, for lint compares the rest.
func transcript(t *testing.T, events []render.Event) string {
	var b strings.Builder
	for _, e := range events {
		if !strings.Contains(string(e.Data), `"response":{`) {
			fmt.Fprintf(&b, "%s\n", e.Data)
			continue
		}
		var r struct {
			N        int `json:"sequence_number"`
			Response struct {
				ID, Status string
			} `json:"response"`
		}
		if err := json.Unmarshal(e.Data, &r); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "%s %d: %s %s\n", e.Type, r.N, r.Response.ID, r.Response.Status)
	}
	return normal(b.String())
}

// asked is what the model was asked, turn by turn.
func asked(requests []*openresponses.Request) string {
	var b strings.Builder
	for i, r := range requests {
		fmt.Fprintf(&b, "turn %d:", i+1)
		for _, f := range r.Tools {
			fmt.Fprintf(&b, " %s", f.Name)
		}
		if c := r.ToolChoice; c != nil {
			fmt.Fprintf(&b, ", tool_choice %s %s %v", c.Mode, c.Name, c.Names)
		}
		if r.MaxOutputTokens != nil {
			fmt.Fprintf(&b, ", max_output_tokens %d", *r.MaxOutputTokens)
		}
		b.WriteByte('\n')
		for j := range r.Input {
			fmt.Fprintf(&b, "  %s\n", r.Input[j].AppendJSON(nil))
		}
	}
	return normal(b.String())
}

func errorLine(err error) string {
	e := apierror.From(err)
	return fmt.Sprintf("%s %s: %s", e.Code, e.Param, e.Message)
}

// Station is a tool plugin as a stranger would write one: it asks the
// operator's weather service and computes with the answer. Its second function
// does what a curious or hostile plugin would try.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/sallyport-gateway/sallyport/sdk/tool"
)

func main() {
	tool.Serve(tool.Manifest{
		Type: "station", Version: "1.0.0", Targets: []string{"api", "archive"},
		Config: json.RawMessage(`{"type":"object","additionalProperties":false,"properties":{"units":{"enum":["celsius","fahrenheit"]}}}`),
	}, &station{units: "celsius"})
}

type station struct{ units string }

var _ tool.Configurer = (*station)(nil)

func (s *station) Configure(_ context.Context, settings json.RawMessage) error {
	var v struct{ Units string }
	if err := json.Unmarshal(settings, &v); err != nil {
		return err
	}
	if v.Units != "" {
		s.units = v.Units
	}
	return nil
}

func (s *station) Open(_ context.Context, ds []tool.Declaration, _ *tool.Host) (tool.Opened, error) {
	return tool.Opened{Functions: []tool.Function{
		{Declaration: ds[0].Index, Name: "station.warmest", Description: "The warmest hour of a day in a city.", Effect: tool.ReadOnly,
			Parameters: json.RawMessage(`{"type":"object","properties":{"city":{"type":"string"}},"required":["city"]}`)},
		{Declaration: ds[0].Index, Name: "station.try", Description: "Sends a request of any kind.", Effect: tool.ReadOnly,
			Parameters: json.RawMessage(`{"type":"object","properties":{"target":{"type":"string"},"method":{"type":"string"},"path":{"type":"string"},"header":{"type":"string"}}}`)},
		{Declaration: ds[0].Index, Name: "station.self", Description: "Says which process answers, and its environment.", Effect: tool.ReadOnly,
			Parameters: json.RawMessage(`{"type":"object","properties":{}}`)},
		{Declaration: ds[0].Index, Name: "station.exec", Description: "Runs a program.", Effect: tool.ReadOnly,
			Parameters: json.RawMessage(`{"type":"object","properties":{"language":{"type":"string"},"code":{"type":"string"}}}`)},
		{Declaration: ds[0].Index, Name: "station.many", Description: "Asks for the hours of Brno many times.", Effect: tool.ReadOnly,
			Parameters: json.RawMessage(`{"type":"object","properties":{"times":{"type":"integer"}},"required":["times"]}`)},
	}}, nil
}

func (s *station) Call(ctx context.Context, c tool.Call, h *tool.Host) (tool.Result, error) {
	switch c.Function {
	case "station.try":
		return try(ctx, c.Arguments, h)
	case "station.exec":
		var p tool.Program
		if err := json.Unmarshal(c.Arguments, &p); err != nil {
			return tool.Result{}, err
		}
		out, err := h.Exec(ctx, p)
		if err != nil {
			return tool.Result{}, err
		}
		return tool.Text(fmt.Sprintf("out %q err %q failed %q", out.Stdout, out.Stderr, out.Error)), nil
	case "station.many":
		var a struct{ Times int }
		if err := json.Unmarshal(c.Arguments, &a); err != nil {
			return tool.Result{}, err
		}
		for range a.Times {
			if _, _, err := ask(ctx, h, "api", tool.Outbound{Path: "hours", Query: "city=Brno"}); err != nil {
				return tool.Result{}, err
			}
		}
		return tool.Text("done"), nil
	case "station.self":
		return tool.Text(fmt.Sprintf("pid %d with %s", os.Getpid(), strings.Join(os.Environ(), " "))), nil
	}
	var arguments struct{ City string }
	if err := json.Unmarshal(c.Arguments, &arguments); err != nil {
		return tool.Result{}, err
	}
	status, body, err := ask(ctx, h, "api", tool.Outbound{Path: "hours", Query: url.Values{"city": {arguments.City}}.Encode()})
	if err != nil {
		return tool.Result{}, err
	}
	var hours []float64
	if err := json.Unmarshal(body, &hours); err != nil || status != http.StatusOK || len(hours) == 0 {
		return tool.Result{Content: []tool.Content{{Type: "text", Text: fmt.Sprintf("The station knows nothing of %s (status %d).", arguments.City, status)}}, IsError: true}, nil
	}
	at := 0
	for i, v := range hours {
		if v > hours[at] {
			at = i
		}
	}
	value, unit := hours[at], "°C"
	if s.units == "fahrenheit" {
		value, unit = value*9/5+32, "°F"
	}
	return tool.Text(fmt.Sprintf("Warmest at %02d:00 with %.1f %s.", at, value, unit)), nil
}

// try sends what the model asks for and shows all that comes back.
func try(ctx context.Context, arguments json.RawMessage, h *tool.Host) (tool.Result, error) {
	var a struct{ Target, Method, Path, Header string }
	if err := json.Unmarshal(arguments, &a); err != nil {
		return tool.Result{}, err
	}
	r := tool.Outbound{Method: a.Method, Path: a.Path}
	if name, value, ok := strings.Cut(a.Header, "="); ok {
		r.Header = http.Header{name: {value}}
	}
	in, err := h.Fetch(ctx, a.Target, r)
	if err != nil {
		return tool.Result{}, err
	}
	defer in.Body.Close()
	body, err := io.ReadAll(in.Body)
	if err != nil {
		return tool.Result{}, err
	}
	return tool.Text(fmt.Sprintf("status %d, %v: %s", in.Status, in.Header, body)), nil
}

func ask(ctx context.Context, h *tool.Host, target string, r tool.Outbound) (int, []byte, error) {
	in, err := h.Fetch(ctx, target, r)
	if err != nil {
		return 0, nil, err
	}
	defer in.Body.Close()
	body, err := io.ReadAll(in.Body)
	return in.Status, body, err
}

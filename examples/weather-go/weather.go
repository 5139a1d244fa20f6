package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/tool"
)

// maxReply bounds what is read of the service's answer, in bytes.
const maxReply = 1 << 20

// weather is the tool. Its only state is the operator's choice of units.
type weather struct{ fahrenheit bool }

var (
	_ tool.Tool       = (*weather)(nil)
	_ tool.Configurer = (*weather)(nil)
)

// Configure takes the operator's settings.
func (w *weather) Configure(_ context.Context, settings json.RawMessage) error {
	var s struct{ Units string }
	if err := json.Unmarshal(settings, &s); err != nil {
		return err
	}
	w.fahrenheit = s.Units == "imperial"
	return nil
}

// Open gives one function for each declaration. {"type": "weather"} lets the
// model choose the place; {"type": "weather", "weather": {"place": "Oslo"}}
// has chosen it.
func (w *weather) Open(_ context.Context, ds []tool.Declaration, _ *tool.Host) (tool.Opened, error) {
	var out tool.Opened
	for _, d := range ds {
		var spec struct{ Place string }
		if err := json.Unmarshal(d.Spec, &spec); err != nil {
			return tool.Opened{}, apierror.At(apierror.Invalid, fmt.Sprintf("tools[%d].weather.place", d.Index), "The place must be a string, such as Oslo.")
		}
		f := tool.Function{
			Declaration: d.Index, Name: "weather.forecast", Effect: tool.ReadOnly, State: []byte(spec.Place),
			Description: "Weather forecast for a place: now and the next three days.",
			Parameters: json.RawMessage(`{"type": "object", "required": ["place"], "additionalProperties": false,
				"properties": {"place": {"type": "string", "description": "City or place, such as Oslo"}}}`),
		}
		if spec.Place != "" {
			f.Description = fmt.Sprintf("Weather forecast for %s: now and the next three days.", spec.Place)
			f.Parameters = json.RawMessage(`{"type": "object", "properties": {}, "additionalProperties": false}`)
		}
		out.Functions = append(out.Functions, f)
	}
	return out, nil
}

// Call fetches a forecast. What the model can mend is a Result that says so.
func (w *weather) Call(ctx context.Context, c tool.Call, h *tool.Host) (tool.Result, error) {
	var args struct{ Place string }
	if err := json.Unmarshal(c.Arguments, &args); err != nil {
		return failed(`The arguments must be {"place": "Oslo"}.`), nil
	}
	place := strings.TrimSpace(cmp.Or(string(c.State), args.Place))
	if place == "" || strings.Trim(place, ".") == "" {
		return failed(`"place" is missing: name a city.`), nil
	}
	reply, err := h.Fetch(ctx, "weather", tool.Outbound{Method: http.MethodGet, Path: url.PathEscape(place), Query: "format=j1"})
	if err != nil {
		return tool.Result{}, err
	}
	defer reply.Body.Close()
	body, err := io.ReadAll(io.LimitReader(reply.Body, maxReply))
	switch {
	case err != nil:
		return tool.Result{}, err
	case reply.Status == http.StatusNotFound:
		return failed(fmt.Sprintf("The weather service does not know %q.", place)), nil
	case reply.Status != http.StatusOK:
		return tool.Result{}, apierror.New(apierror.UpstreamFailed, "The weather service answered %d.", reply.Status)
	}
	var f forecast
	if err := json.Unmarshal(body, &f); err != nil || len(f.Current) == 0 {
		return tool.Result{}, apierror.Wrap(apierror.UpstreamFailed, err, "The weather service sent no forecast.")
	}
	return tool.Text(w.tell(place, f)), nil
}

// forecast is the part of the service's answer that we read.
type forecast struct {
	Current []struct {
		C    string                   `json:"temp_C"`
		F    string                   `json:"temp_F"`
		Desc []struct{ Value string } `json:"weatherDesc"`
	} `json:"current_condition"`
	Days []struct {
		Date string `json:"date"`
		MaxC string `json:"maxtempC"`
		MaxF string `json:"maxtempF"`
		MinC string `json:"mintempC"`
		MinF string `json:"mintempF"`
	} `json:"weather"`
}

// tell writes a forecast for the model.
func (w *weather) tell(place string, f forecast) string {
	var b strings.Builder
	now := f.Current[0]
	fmt.Fprintf(&b, "Weather in %s: ", place)
	for _, d := range now.Desc {
		b.WriteString(d.Value + ", ")
	}
	if w.fahrenheit {
		fmt.Fprintf(&b, "%s °F now.", now.F)
	} else {
		fmt.Fprintf(&b, "%s °C now.", now.C)
	}
	for _, d := range f.Days {
		if w.fahrenheit {
			fmt.Fprintf(&b, "\n%s: %s to %s °F.", d.Date, d.MinF, d.MaxF)
		} else {
			fmt.Fprintf(&b, "\n%s: %s to %s °C.", d.Date, d.MinC, d.MaxC)
		}
	}
	return b.String()
}

// failed is a Result that tells the model what went wrong.
func failed(text string) tool.Result {
	r := tool.Text(text)
	r.IsError = true
	return r
}

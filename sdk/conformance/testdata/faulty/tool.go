package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/tool"
)

// cities is a tool that fetches a text about a city.
type cities struct{}

// greeting is a setting.
var greeting = "Hello"

func serveTool() {
	m := tool.Manifest{
		Type: "cities", Version: version(), Targets: []string{"facts"},
		Config: json.RawMessage(`{"type":"object","properties":{"greeting":{"type":"string"}},"additionalProperties":false}`),
	}
	switch fault {
	case "wrong-schema":
		m.Config = json.RawMessage(`{"type":"objekt"}`)
	case "takes-unknown-settings":
		m.Config = json.RawMessage(`{"type":"object"}`)
	case "wrong-health", "outlives-parent", "refuses-unknown-fields", "host-after-end":
		serveByHand(m)
		return
	}
	tool.Serve(m, cities{})
}

// Configure implements tool.Configurer.
func (cities) Configure(_ context.Context, settings json.RawMessage) error {
	var s struct {
		Greeting string `json:"greeting"`
	}
	d := json.NewDecoder(bytes.NewReader(settings))
	if fault != "takes-unknown-settings" {
		d.DisallowUnknownFields()
	}
	if err := d.Decode(&s); err != nil {
		return err
	}
	if s.Greeting != "" {
		greeting = s.Greeting
	}
	return nil
}

const schema = `{"type":"object","properties":{"city":{"type":"string"}},"required":["city"],"additionalProperties":false}`

// Open implements tool.Tool.
func (cities) Open(_ context.Context, ds []tool.Declaration, _ *tool.Host) (tool.Opened, error) {
	var o tool.Opened
	for _, d := range ds {
		f := tool.Function{Declaration: d.Index, Name: "city_facts", Description: "Tells something about a city.", Parameters: json.RawMessage(schema), Effect: tool.ReadOnly}
		if d.Name != "" {
			f.Name = d.Name
		}
		switch fault {
		case "wrong-declaration":
			f.Declaration = d.Index + 1
		case "nameless-function":
			f.Name = ""
		case "parameters-no-object":
			f.Parameters = json.RawMessage(`{"type":"string"}`)
		case "open-changes":
			f.Description = fmt.Sprint("Asked at ", time.Now().UnixNano())
		}
		o.Functions = append(o.Functions, f)
	}
	return o, nil
}

// Faults keep things here.
var (
	underWay atomic.Int32
	lastCity string // shared between calls, as it must not be
	kept     []any
)

// Call implements tool.Tool.
func (cities) Call(ctx context.Context, c tool.Call, h *tool.Host) (tool.Result, error) {
	before()
	var args struct {
		City string `json:"city"`
	}
	if fault == "panics-on-bad-arguments" {
		var m map[string]any
		_ = json.Unmarshal(c.Arguments, &m)
		args.City = m["city"].(string)
	} else {
		d := json.NewDecoder(bytes.NewReader(c.Arguments))
		d.DisallowUnknownFields()
		if err := d.Decode(&args); err != nil || args.City == "" || d.More() {
			if fault == "dies-on-bad-arguments" {
				go func() { panic("unexpected end of JSON input") }()
				time.Sleep(time.Minute)
			}
			if fault == "accepts-bad-arguments" {
				return tool.Text("Fine."), nil
			}
			r := tool.Text(`The arguments must be {"city": "name of a city"}.`)
			r.IsError = true
			return r, nil
		}
	}
	lastCity = args.City
	underWay.Add(1)
	defer underWay.Add(-1)
	for i := 0; fault == "mixes-calls" && i < 100 && underWay.Load() > 1 && lastCity == args.City; i++ {
		time.Sleep(2 * time.Millisecond) // some work, until another call has changed it
	}
	in, err := h.Fetch(ctx, "facts", tool.Outbound{Method: "GET", Path: "city", Query: "name=" + escape(args.City)})
	for fault == "ignores-cancel" && err != nil { // tries again for ever
		time.Sleep(10 * time.Millisecond)
		in, err = h.Fetch(context.Background(), "facts", tool.Outbound{Method: "GET", Path: "city"})
	}
	if err != nil {
		if fault == "error-without-code" {
			return tool.Result{}, errors.New("fetch: " + err.Error())
		}
		return tool.Result{}, fmt.Errorf("facts about %s: %w", args.City, err)
	}
	defer in.Body.Close()
	b, err := io.ReadAll(io.LimitReader(in.Body, 64<<10))
	if err != nil {
		return tool.Result{}, apierror.New(apierror.UpstreamFailed, "The facts could not be read.")
	}
	city := args.City
	switch fault {
	case "mixes-calls":
		city = lastCity
	case "oversize-result":
		return tool.Text(strings.Repeat("a", 40<<20)), nil
	}
	return tool.Text(greeting + ", " + city + ": " + string(b)), nil
}

// before has the faults that each call leaves something of.
func before() {
	switch fault {
	case "leaks-goroutines":
		go func() { select {} }()
	case "leaks-threads":
		go func() { runtime.LockOSThread(); block() }()
	case "leaks-descriptors":
		f, err := os.Open("/dev/null")
		if err == nil {
			kept = append(kept, f)
		}
	case "leaks-memory":
		b := make([]byte, 256<<10)
		for i := range b {
			b[i] = byte(i)
		}
		kept = append(kept, b)
	case "prints-later":
		fmt.Println("called")
	}
}

func escape(s string) string { return strings.ReplaceAll(s, " ", "%20") }

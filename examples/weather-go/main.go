// Command tool-weather is a plugin of the Sallyport gateway that serves the
// tool type "weather": forecasts by place, from wttr.in or a service like it.
// The service is its target "weather", whose address and key only the gateway
// knows.
package main

import (
	"encoding/json"

	"github.com/sallyport-gateway/sallyport/sdk/tool"
)

var manifest = tool.Manifest{
	Type: "weather", Version: "1.0.0",
	Targets: []string{"weather"},
	Config: json.RawMessage(`{
		"type": "object",
		"properties": {"units": {"enum": ["metric", "imperial"], "default": "metric", "description": "°C or °F"}},
		"additionalProperties": false
	}`),
}

func main() { tool.Serve(manifest, &weather{}) }

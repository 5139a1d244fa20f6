package supervisor

import (
	"encoding/json"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
)

// vendorMembers of a request are for the gateway, not for the model.
var vendorMembers = []string{"trace_destination", "databricks_options", "conversation", "prompt"}

// checkRequest refuses what the Supervisor does not do, by name, before
// anything else happens.
func checkRequest(r *openresponses.Request) error {
	switch {
	case r.Model == "":
		return apierror.At(apierror.Invalid, "model", "model is missing: name the model that should answer.")
	case len(r.Input) == 0:
		return apierror.At(apierror.Invalid, "input", "input is missing: give the conversation as a string or a list of items.")
	case r.Stream && r.Background:
		return apierror.At(apierror.Invalid, "background", "stream and background cannot both be true; use one of them.")
	case r.Background:
		return apierror.At(apierror.Unsupported, "background", "background runs are not offered by this gateway yet; send the request without background.")
	case r.PreviousResponseID != "":
		return apierror.At(apierror.Unsupported, "previous_response_id",
			"previous_response_id is not supported: this API keeps no conversations. Send the whole history in input.")
	}
	if err := checkVendorMembers(r); err != nil {
		return err
	}
	if len(r.Tools) > 0 {
		return checkInference(r)
	}
	return nil
}

func checkVendorMembers(r *openresponses.Request) error {
	given := func(name string) json.RawMessage {
		if raw := r.ExtraMember(name); len(raw) > 0 && string(raw) != "null" {
			return raw
		}
		return nil
	}
	for _, name := range []string{"conversation", "prompt"} {
		if given(name) != nil {
			return apierror.At(apierror.Unsupported, name, "%s is not supported: this API keeps no state. Send the whole history in input.", name)
		}
	}
	if given("trace_destination") != nil {
		return apierror.At(apierror.Unsupported, "trace_destination", "trace_destination is not offered by this gateway yet: no trace would be written. Send the request without it.")
	}
	raw := given("databricks_options")
	if raw == nil {
		return nil
	}
	var options struct {
		ReturnTrace *bool `json:"return_trace"`
	}
	if err := json.Unmarshal(raw, &options); err != nil {
		return apierror.At(apierror.Invalid, "databricks_options", "databricks_options must be an object whose return_trace is true or false.")
	}
	if options.ReturnTrace != nil && *options.ReturnTrace {
		return apierror.At(apierror.Unsupported, "databricks_options.return_trace", "return_trace is not offered by this gateway yet. Send the request without it.")
	}
	return nil
}

// checkInference refuses the parameters that the vendor refuses beside tools,
// in the words that its clients look for.
func checkInference(r *openresponses.Request) error {
	given := []struct {
		name string
		set  bool
	}{
		{"temperature", r.Temperature != nil},
		{"top_p", r.TopP != nil},
		{"presence_penalty", r.PresencePenalty != nil},
		{"frequency_penalty", r.FrequencyPenalty != nil},
		{"top_logprobs", r.TopLogprobs != nil},
	}
	for _, p := range given {
		if p.set {
			return apierror.At(apierror.Invalid, p.name, "Parameter not supported when tools are provided: %s. Remove it, or send the request without tools.", p.name)
		}
	}
	return nil
}

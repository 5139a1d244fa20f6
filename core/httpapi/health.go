package httpapi

import "net/http"

// Health is how well a part of the gateway does its work.
type Health struct {
	// Problems has a sentence for each thing that is wrong, fit for anybody to
	// read: no path, no name of a user.
	Problems []string
	// Failing: model calls are refused until the problems are gone.
	Failing bool
	// Code is code execution.
	Code CodeHealth
}

// CodeHealth says what there is of code execution.
type CodeHealth struct {
	Languages []string `json:"languages"`           // in which programs can be run
	Offer     string   `json:"offer"`               // when models are offered them: always, with_hosted_tools or never
	Missing   string   `json:"missing,omitempty"`   // why not others, for anybody to read; "" if nothing is missing
	Preparing string   `json:"preparing,omitempty"` // that programs wait for the first process that runs them, and since when
}

// health answers as soon as requests are served. Its status is for machines:
// 200 while requests are served, also when something needs an administrator
// (degraded), and 503 while model calls are refused (failing).
func (a *API) health(w http.ResponseWriter, _ *http.Request, c call) error {
	reply := struct {
		Status   string      `json:"status"`
		Version  string      `json:"version"`
		Problems []string    `json:"problems,omitempty"`
		Code     *CodeHealth `json:"code_execution,omitempty"`
	}{Status: "ok", Version: a.version}
	status := http.StatusOK
	if c.Health != nil {
		h := c.Health()
		reply.Problems, reply.Code = h.Problems, &h.Code
		switch {
		case h.Failing:
			reply.Status, status = "failing", http.StatusServiceUnavailable
		case len(h.Problems) > 0:
			reply.Status = "degraded"
		}
	}
	writeJSON(w, status, reply)
	return nil
}

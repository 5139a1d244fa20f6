package httpapi

import "net/http"

// Health is how well a part of the gateway does its work.
type Health struct {
	// Problems has a sentence for each thing that is wrong, fit for anybody to
	// read: no path, no name of a user.
	Problems []string
	// Failing: model calls are refused until the problems are gone.
	Failing bool
}

// health answers as soon as requests are served. Its status is for machines:
// 200 while requests are served, also when something needs an administrator
// (degraded), and 503 while model calls are refused (failing).
func (a *API) health(w http.ResponseWriter, _ *http.Request, c call) error {
	reply := struct {
		Status   string   `json:"status"`
		Version  string   `json:"version"`
		Problems []string `json:"problems,omitempty"`
	}{Status: "ok", Version: a.version}
	status := http.StatusOK
	if c.Health != nil {
		h := c.Health()
		reply.Problems = h.Problems
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

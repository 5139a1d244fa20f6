//go:build linux

package gatewaytest_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-gateway/sallyport/core/gatewaytest"
)

// waitLong is when a test gives up waiting for what must happen.
const waitLong = time.Minute

// site is a running gateway whose disks a test takes away.
type site struct {
	*providers
	*gatewaytest.Process
	dir, file string
	n         int
}

// newSite starts a gateway over dir with more configuration.
func newSite(t *testing.T, dir, more string) *site {
	t.Helper()
	s := &site{providers: newProviders(t), dir: dir}
	s.file = s.configure(t, dir, "code_execution: {offer: never}\n"+more) // whose guests are not what is tested
	s.Process = gatewaytest.Serve(t, s.file)
	return s
}

// ask makes a request and returns its id and what came.
func (s *site) ask(t *testing.T, e errand, model string, stream bool) (id string, a answer) {
	t.Helper()
	s.n++
	id = fmt.Sprintf("f%d", s.n)
	a = s.send(t.Context(), http.DefaultClient, s.URL(), request{id: id, errand: e, model: model, stream: stream})
	return id, a
}

// served makes a request that must succeed, and returns its id.
func (s *site) served(t *testing.T) string {
	t.Helper()
	id, a := s.ask(t, plain, gpt, s.n%2 == 0)
	if !a.complete {
		t.Fatalf("request %s: got %d %s (%v)", id, a.status, a.raw, a.err)
	}
	return id
}

// health is what /health says.
type health struct {
	status   int
	Status   string
	Problems []string
}

func (s *site) health(t *testing.T) health {
	t.Helper()
	resp, err := http.Get(s.URL() + "/health")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	h := health{status: resp.StatusCode}
	if err == nil {
		err = json.Unmarshal(b, &h)
	}
	if err != nil {
		t.Fatalf("/health: %v in %s", err, b)
	}
	if strings.Contains(string(b), s.dir) || strings.Contains(string(b), "/") {
		t.Errorf("/health names a path: %s", b)
	}
	return h
}

// becomes waits until /health says status.
func (s *site) becomes(t *testing.T, status string) health {
	t.Helper()
	var h health
	gatewaytest.Eventually(t, waitLong, "/health to say "+status, func() bool { h = s.health(t); return h.Status == status })
	want := map[string]int{"ok": 200, "degraded": 200, "failing": 503}[status]
	if h.status != want || (len(h.Problems) == 0) != (status == "ok") {
		t.Errorf("/health: got %+v", h)
	}
	return h
}

// goesOn checks that what needs no disk of ours works: discovery and SQL.
func (s *site) goesOn(t *testing.T) {
	t.Helper()
	for _, path := range []string{"/ai-gateway/mlflow/v1/models", "/api/ai-gateway/v2/endpoints"} {
		if status, body := s.call(t, "GET", path, ""); status != 200 {
			t.Errorf("GET %s: got %d %s", path, status, body)
		}
	}
	status, body := s.call(t, "POST", "/api/2.0/sql/statements", `{"statement":"SELECT count(*) AS n FROM main.sales.reviews"}`)
	if status != 200 || !strings.Contains(body, `"SUCCEEDED"`) {
		t.Errorf("SQL over HTTP: got %d %s", status, body)
	}
	if rows, err := gatewaytest.TrySQL(t, s.file, "SELECT count(*) AS n FROM main.sales.reviews"); err != nil || len(rows) != 1 {
		t.Errorf("sallyport sql: got %v, %v", rows, err)
	}
}

func (s *site) call(t *testing.T, method, path, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, s.URL()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+loadToken)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// refusesCalls checks that model calls are refused in the words of each
// dialect, and reach no provider.
func (s *site) refusesCalls(t *testing.T) {
	t.Helper()
	for _, stream := range []bool{false, true} {
		for _, path := range []string{"/ai-gateway/mlflow/v1/responses", "/ai-gateway/openresponses/v1/responses"} {
			s.n++
			id := fmt.Sprintf("refused%d", s.n)
			status, body := s.call(t, "POST", path, fmt.Sprintf(`{"model":%q,"input":%q,"stream":%t}`, gpt, prompt(id, plain), stream))
			var e struct {
				ErrorCode string `json:"error_code"`
				Message   string
				Error     struct{ Type, Code, Message string }
			}
			if err := json.Unmarshal([]byte(body), &e); err != nil || status != http.StatusServiceUnavailable || e.Error.Code != "unavailable" || e.Error.Message == "" {
				t.Errorf("%s, stream %t: got %d %s, want status 503 and the code unavailable", path, stream, status, body)
			}
			if spec := strings.Contains(path, "openresponses"); spec != (e.ErrorCode == "") || !spec && e.ErrorCode != "TEMPORARILY_UNAVAILABLE" {
				t.Errorf("%s: got %s", path, body)
			}
			if strings.Contains(body, s.dir) {
				t.Errorf("%s: the error names a path: %s", path, body)
			}
			if seen := s.sights()[id]; len(seen) > 0 {
				t.Errorf("%s: a provider saw a call that is not recorded", path)
			}
		}
	}
}

// rows checks that the usage table has exactly the rows of these calls, all
// completed, with the provider's counts.
func (s *site) rows(t *testing.T, ids ...string) {
	t.Helper()
	all := usageRows(t, s.file)
	for id, rows := range all { // of refused calls there may be rows that say so
		if len(rows) == 1 && rows[0].status == "refused" {
			delete(all, id)
		}
	}
	for _, id := range ids {
		u := count(id, 0)
		if r := all[id]; len(r) != 1 || r[0].status != "completed" || r[0].in != u.Input+u.Cached || r[0].out != u.Output+u.Reasoning {
			t.Errorf("rows of %s: got %+v, want one, completed, with %+v tokens", id, r, u)
		}
		delete(all, id)
	}
	if len(all) > 0 {
		t.Errorf("rows of nobody's calls: %+v", all)
	}
}

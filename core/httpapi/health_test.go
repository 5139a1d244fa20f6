package httpapi

import (
	"encoding/json"
	"log/slog"
	"net/http/httptest"
	"slices"
	"testing"
)

func TestHealth(t *testing.T) {
	t.Parallel()
	tests := []struct {
		health *Health // nil: nothing tells
		code   int
		status string
	}{
		{nil, 200, "ok"},
		{&Health{}, 200, "ok"},
		{&Health{Problems: []string{"tables: main.gateway.x_payload cannot be written"}}, 200, "degraded"},
		{&Health{Problems: []string{"ledger: the disk is full"}, Failing: true}, 503, "failing"},
	}
	for _, tt := range tests {
		st := &State{}
		if tt.health != nil {
			st.Health = func() Health { return *tt.health }
		}
		a := New(fixed(st), Limits{}, "v1", slog.New(slog.DiscardHandler))
		w := httptest.NewRecorder()
		a.ServeHTTP(w, httptest.NewRequest("GET", "/health", nil))
		var got struct {
			Status, Version string
			Problems        []string
		}
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
			t.Fatalf("%v: %s", err, w.Body)
		}
		if w.Code != tt.code || got.Status != tt.status || got.Version != "v1" || tt.health != nil && !slices.Equal(got.Problems, tt.health.Problems) {
			t.Errorf("%+v: got %d %s", tt.health, w.Code, w.Body)
		}
	}
}

package apierror

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestErrorCrossesProcesses(t *testing.T) {
	t.Parallel()
	for _, c := range Codes {
		e := &Error{Code: c, Message: "M.", Param: "a[0].b", RetryAfter: 1500 * time.Millisecond, Upstream: &Upstream{Status: 429, RequestID: "r", Code: "x"}}
		b, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		got := new(Error)
		if err := json.Unmarshal(b, got); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, e) {
			t.Errorf("%s became %+v, want %+v", b, got, e)
		}
	}
}

func TestUnknownCodeIsInternal(t *testing.T) {
	t.Parallel()
	var e Error
	if err := json.Unmarshal([]byte(`{"code":"from_the_future","message":"m","more":1}`), &e); err != nil {
		t.Fatal(err)
	}
	if e.Code != Internal || e.Message != "m" {
		t.Errorf("got %+v, want code internal", e)
	}
	if err := json.Unmarshal([]byte(`{"code":7}`), &e); err == nil {
		t.Error("a code that is no string was taken")
	}
}

func TestCauseStaysHere(t *testing.T) {
	t.Parallel()
	cause := errors.New("dial 10.0.0.1: secret")
	e := Wrap(UpstreamFailed, cause, "The provider %q failed.", "p")
	if got := e.Error(); !strings.Contains(got, "secret") || !errors.Is(e, cause) {
		t.Errorf("the log sees %q without the cause", got)
	}
	b, err := json.Marshal(e)
	if err != nil || strings.Contains(string(b), "secret") {
		t.Errorf("on the wire: %s, %v", b, err)
	}
}

func TestCodeOf(t *testing.T) {
	t.Parallel()
	denied := At(Denied, "tools[0]", "No.")
	tests := []struct {
		name string
		err  error
		want Code
	}{
		{"nil", nil, ""},
		{"itself", denied, Denied},
		{"wrapped", fmt.Errorf("table: %w", denied), Denied},
		{"joined", errors.Join(errors.New("x"), denied), Denied},
		{"any other", errors.New("x"), Internal},
	}
	for _, tt := range tests {
		if got := CodeOf(tt.err); got != tt.want {
			t.Errorf("%s: CodeOf = %q, want %q", tt.name, got, tt.want)
		}
		if got := Is(tt.err, Denied); got != (tt.want == Denied) {
			t.Errorf("%s: Is(Denied) = %v", tt.name, got)
		}
	}
}

func TestFrom(t *testing.T) {
	t.Parallel()
	if From(nil) != nil {
		t.Error("From(nil) is an error")
	}
	denied := New(Denied, "No.")
	if got := From(fmt.Errorf("x: %w", denied)); got != denied {
		t.Errorf("From = %v, want the error within", got)
	}
	secret := errors.New("secret")
	got := From(secret)
	if got.Code != Internal || strings.Contains(got.Message, "secret") || !errors.Is(got, secret) {
		t.Errorf("From(any other) = %+v", got)
	}
}

package openresponses

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
)

func TestCheckRefusesWhatReadersDisagreeOn(t *testing.T) {
	t.Parallel()
	many := make([]string, 100)
	for i := range many {
		many[i] = fmt.Sprintf(`"k%d":%d`, i, i)
	}
	few := strings.Join(many[:20], ",") // three objects of them are more than the scanner has room for at first
	nested := func(inner, outer string) string {
		return `{` + few + `,"x":{` + few + `,"y":{` + few + inner + `}` + outer + `}}`
	}
	tests := []struct{ in, param, says string }{
		{nested(`,"k19":0`, ``), "x.y.k19", `duplicate key "k19"`},
		{nested(``, `,"k3":0`), "x.k3", `duplicate key "k3"`},
		{nested(``, `,"\u0079":0`), "x.y", `duplicate key "y"`},
		{`{"model":"a","model":"b"}`, "model", `duplicate key "model"`},
		{`{"model":"a","mod\u0065l":"b"}`, "model", `duplicate key "model"`},
		{`{"tools":[{},{"table":{"name":"a","name":"b"}}]}`, "tools[1].table.name", `duplicate key "name"`},
		{`{"x":{` + strings.Join(many, ",") + `,"k7":0}}`, "x.k7", `duplicate key "k7"`},
		{`{"x":{` + strings.Join(many, ",") + `,"k99":0}}`, "x.k99", `duplicate key "k99"`},
		{"{\"x\":\"\xff\"}", "x", "not UTF-8"},
		{"{\"x\":\"a\nb\"}", "x", "control character"},
		{`{"a\ud800":1}`, "", "surrogate"},
		{`{"x":01}`, "", "comma or }"},
		{`{"x":1.}`, "x", "number"},
		{`{"x":"\q"}`, "x", "escape"},
		{`{"x":nan}`, "x", "unexpected character"},
		{`{"x":1} {}`, "", "after the end"},
		{``, "", "unexpected end"},
		{strings.Repeat("[", 5000), "", "deeper than 200"},
		{`{"` + strings.Repeat("k", 10_000) + `":tru}`, strings.Repeat("k", maxPath) + "…", "unexpected character"},
		{`{"` + strings.Repeat("k", 10_000) + `":1,"` + strings.Repeat("k", 10_000) + `":2}`, "", "duplicate key"},
	}
	for _, tt := range tests {
		_, err := check([]byte(tt.in))
		e, ok := errors.AsType[*apierror.Error](err)
		if !ok || e.Code != apierror.Invalid || !strings.Contains(e.Message, tt.says) {
			t.Errorf("check(%.40q) = %v, want one that says %q", tt.in, err, tt.says)
			continue
		}
		if len(e.Message) > 1000 || len(e.Param) > 300 {
			t.Errorf("check(%.40q): a message of %d bytes about a param of %d", tt.in, len(e.Message), len(e.Param))
		}
		if tt.param != "" && e.Param != tt.param {
			t.Errorf("check(%.40q): param %q, want %q", tt.in, e.Param, tt.param)
		}
	}
	for _, ok := range []string{nested(``, ``), `{"a":{"k":1},"b":{"k":1},"c":[{"k":1},{"k":2}]}`, `"\ud83d\ude00"`, ` -0.5e+10 `, "\"\u2028\"", `{}`, `[]`} {
		if got, err := check([]byte(ok)); err != nil || string(got) != ok {
			t.Errorf("check(%q) = %q, %v", ok, got, err)
		}
	}
	for in, want := range map[string]string{
		`"\ud800"`: `"\ufffd"`, `"\udc00x"`: `"\ufffdx"`, `"\ud800\uD83D\uDE00"`: `"\ufffd\uD83D\uDE00"`, `"\\ud800"`: `"\\ud800"`, `"\ud800\n"`: `"\ufffd\n"`,
	} {
		if got, err := check([]byte(in)); err != nil || string(got) != want {
			t.Errorf("check(%q) = %q, %v, want %q", in, got, err, want)
		}
	}
}

// FuzzCheck: what check accepts, encoding/json accepts, and it refuses nothing
// else than it says.
func FuzzCheck(f *testing.F) {
	for _, s := range []string{`{"a":[1,2.5e3,"\u00e9\n",null,true]}`, `{"a":1,"a":2}`, `"\ud800"`, "\"\xff\"", `[[[]]]`, `-`, `1e400`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		clean, err := check(b)
		if err == nil {
			if !json.Valid(b) {
				t.Fatalf("accepted %q, which is not JSON", b)
			}
			if got, want := decoded(clean), decoded(b); !reflect.DeepEqual(got, want) {
				t.Fatalf("%q became %q", b, clean)
			}
			return
		}
		stricter := !utf8.Valid(b) || strings.Contains(err.Error(), "duplicate key") ||
			strings.Contains(err.Error(), "deeper than") || strings.Contains(err.Error(), "surrogate")
		if json.Valid(b) && !stricter {
			t.Fatalf("refused %q: %v", b, err)
		}
	})
}

func decoded(b []byte) (v any) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber() // 1e400 is JSON, though no float64
	if err := d.Decode(&v); err != nil {
		return err.Error()
	}
	return v
}

package openresponses

import (
	"bytes"
	"encoding/json"
	"testing"
)

// FuzzSlices compares the slices with what encoding/json reads, in JSON that
// check accepts.
func FuzzSlices(f *testing.F) {
	for _, s := range []string{
		`{"a":"x","b":[1,"\"",{"c":"]}\\"}],"c":null,"d":-1.5e3,"e":{},"f":[],"g":"\\\\\""}`, `["a",{"b":["]"]},[],true , 7]`, ` { "a" : [ 1 , 2 ] } `,
		`"\\"`, `[""]`, `[["\\\""],"\u0022"]`, `{"":{"":""}}`, `12`, `[1]`, `{`, `["`, `["\`, `]`, `[}`, `[,`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got := elements(b) // must not panic, whatever it is
		member(b, "a")
		clean, err := check(b)
		if err != nil || !bytes.Equal(clean, b) {
			t.Skip()
		}
		var list []json.RawMessage
		if json.Unmarshal(b, &list) == nil && len(list) > 0 {
			if len(got) != len(list) {
				t.Fatalf("%d elements of %q, want %d", len(got), b, len(list))
			}
			for i := range list {
				if !bytes.Equal(bytes.TrimSpace(got[i]), list[i]) {
					t.Errorf("element %d is %q, want %q", i, got[i], list[i])
				}
			}
		}
		var members map[string]json.RawMessage
		if json.Unmarshal(b, &members) == nil {
			for k, want := range members {
				if m := member(b, k); !bytes.Equal(bytes.TrimSpace(m), want) {
					t.Errorf("member %q is %q, want %q", k, m, want)
				}
			}
		}
	})
}

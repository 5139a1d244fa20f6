package main

import (
	"encoding/json"
	"testing"

	or "github.com/sallyport-gateway/sallyport/sdk/openresponses"
)

// What is read without a decoder is what encoding/json reads.
func FuzzUserID(f *testing.F) {
	for _, id := range []string{`{"device_id":"d","account_uuid":"","session_id":"s"}`, `{"session_id":"a","session_id":"b"}`, `{"Session_ID":"a"}`, `{}`, `null`, `"x"`, `7`,
		` {"session_id":"a"} `, `{"session_id":"a",}`, `{"session_id":"a"`, `{"session_id":"\u0061"}`, `{"session_id":1}`, `{"session_id":"é"}`, `{"other":"a"}`, `user_1`, ``} {
		f.Add(id)
	}
	f.Fuzz(func(t *testing.T, id string) {
		var want userID
		err := json.Unmarshal([]byte(id), &want)
		got, ok := readUserID(id)
		if err != nil && ok || err == nil && ok && got != want || err == nil && !ok && want != (userID{}) {
			t.Errorf("%q: got %v, %v, want %v, %v", id, got, ok, want, err)
		}
	})
}

// The hint that is written is the hint that is read.
func FuzzHint(f *testing.F) {
	f.Add("enabled", int64(1024), "max", `{"a":"<b>"}`, billing)
	f.Add("", int64(0), "", "\xff\u2028", "")
	f.Fuzz(func(t *testing.T, thinking string, budget int64, effort, user, line string) {
		h := hint{Thinking: thinking, Budget: budget, Effort: effort, UserID: user, Billing: line}
		b, err := json.Marshal(h)
		if err != nil {
			t.Fatal(err)
		}
		var want hint
		if err := json.Unmarshal(b, &want); err != nil {
			t.Fatal(err)
		}
		r := new(or.Request)
		h.put(r)
		if got := hintOf(r); got != want || h == (hint{}) != (r.Extra == nil) {
			t.Errorf("got %v, want %v", got, want)
		}
	})
}

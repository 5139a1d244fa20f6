package sh

import (
	"bytes"
	"context"
	"testing"

	"github.com/sallyport-gateway/sallyport/sandbox/guests/dialogue"
)

// The dialogues of the shell guest run here without WebAssembly, so that the
// race detector sees them; the package above runs them in the guest.
func TestDialogues(t *testing.T) {
	for _, d := range dialogue.Read(t, "../../testdata/shell.txtar") {
		t.Run(d.Name, func(t *testing.T) {
			t.Parallel()
			var out, errs bytes.Buffer
			s, err := New(t.TempDir(), &out, &errs)
			if err != nil {
				t.Fatal(err)
			}
			d.Check(t, func(code string) dialogue.Answer {
				out.Reset()
				errs.Reset()
				status := s.Run(context.Background(), code)
				return dialogue.Answer{Stdout: out.String(), Stderr: errs.String(), Exit: status}
			})
		})
	}
}

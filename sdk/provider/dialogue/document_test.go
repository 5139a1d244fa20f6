package dialogue

import (
	"net/http"
	"strings"
	"testing"
)

func TestDocumentKeepsLittle(t *testing.T) {
	t.Parallel()
	for _, size := range []int{10, 2 * keptBody, 2 * keptParser} {
		d := new(Document)
		b, err := d.Read(strings.NewReader(`"`+strings.Repeat("x", size)+`"`), http.Header{}, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		v, err := d.Parse(b)
		if err != nil || len(v.GetStringBytes()) != size {
			t.Fatalf("%d letters: got %d, %v", size, len(v.GetStringBytes()), err)
		}
		if cap(d.body) > keptBody {
			t.Errorf("%d letters: %d bytes of body are kept", size, cap(d.body))
		}
		if d.Slim(); d.size > keptParser {
			t.Errorf("%d letters: their parser is kept", size)
		}
	}
}

package openresponses

import (
	"encoding/json"
	"strings"
	"testing"
)

// Every byte at every place of a string, among others of each kind.
func TestAppendStringEveryByte(t *testing.T) {
	t.Parallel()
	for c := range 256 {
		for at := range 17 {
			for _, around := range []string{"aaaaaaaaaaaaaaaaa", "zzzz~ !#[]^_`{|}~", "éééééééé0"} {
				in := around[:at] + string([]byte{byte(c)}) + around[at:]
				var got string
				if err := json.Unmarshal(appendString(nil, in), &got); err != nil {
					t.Fatalf("%q: %v", in, err)
				}
				if want := toValidEach(in); got != want {
					t.Fatalf("%q became %q, want %q", in, got, want)
				}
			}
		}
	}
}

// Every place of a long text, which is looked at in larger steps.
func TestAppendStringEveryPlace(t *testing.T) {
	t.Parallel()
	for n := range 300 {
		text := strings.Repeat("abcdefg ", 40)[:n]
		if plain(text) != n || plainBytes([]byte(text)) != n {
			t.Fatalf("%d plain bytes of %d, and %d", plain(text), n, plainBytes([]byte(text)))
		}
		for at := range n {
			for _, odd := range []string{"\"", "\\", "\x1f", "\x00", "\x80", "é", "\xff"} {
				in := text[:at] + odd + text[at:]
				if plain(in) != at || plainBytes([]byte(in)) != at {
					t.Fatalf("%d plain bytes in front of %q, and %d, want %d", plain(in), odd, plainBytes([]byte(in)), at)
				}
			}
		}
	}
}

// toValidEach replaces each byte that is not UTF-8 by a character of its own.
func toValidEach(s string) string {
	var b strings.Builder
	for _, r := range s {
		b.WriteRune(r)
	}
	return b.String()
}

func BenchmarkAppendString(b *testing.B) {
	for name, s := range map[string]string{"plain": strings.Repeat("plain text ", 17), "lines": strings.Repeat("a line\n", 27), "accents": strings.Repeat("héllo ", 27)} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(s)))
			var dst []byte
			for b.Loop() {
				dst = appendString(dst[:0], s)
			}
		})
	}
}

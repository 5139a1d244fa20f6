package pipe

import (
	"bytes"
	"io"
	"os"
	"testing"
	"time"
)

// A reader that comes after the deadline gets what was written before, though
// somebody still holds the other end.
func TestWhatIsInThePipe(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "a line\n", string(bytes.Repeat([]byte("x"), 60<<10))} {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		defer w.Close()
		if _, err := io.WriteString(w, text); err != nil {
			t.Fatal(err)
		}
		if err := r.SetReadDeadline(time.Unix(1, 0)); err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(&Reader{F: r})
		if err != nil || string(got) != text {
			t.Errorf("read %d bytes, %v, want %d", len(got), err, len(text))
		}
	}
}

// A process that goes on writing keeps no reader.
func TestEndlessWriter(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	ended := make(chan error, 1)
	go func() {
		for {
			if _, err := w.Write(make([]byte, 4<<10)); err != nil {
				ended <- err
				return
			}
		}
	}()
	if err := r.SetReadDeadline(time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	n, err := io.Copy(io.Discard, &Reader{F: r})
	if err != nil || n > Most+32<<10 {
		t.Errorf("read %d bytes, %v, want at most about %d", n, err, Most)
	}
	w.Close()
	<-ended
}

package provider

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
)

// writes records what each Write was given.
type writes struct {
	mu  sync.Mutex
	all [][]byte
}

func (w *writes) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all = append(w.all, bytes.Clone(p))
	return len(p), nil
}

func (w *writes) joined() []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	return bytes.Join(w.all, nil)
}

func (w *writes) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.all)
}

func TestFramesSurviveAnySplit(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	var want [][]byte
	var out writes
	w := newFrameWriter(&out)
	for i := range 28 {
		payload := make([]byte, []int{0, 1, 190, 5000, writeBuffer - frameHeader, writeBuffer, growStep + 7}[i%7])
		for k := range payload {
			payload[k] = byte(rng.Uint32())
		}
		want = append(want, payload)
		if err := w.frame(frameEvent, payload[:len(payload)/2], payload[len(payload)/2:]); err != nil {
			t.Fatalf("frame %d: %v", i, err)
		}
	}
	if err := w.flush(); err != nil {
		t.Fatalf("flush: %v", err)
	}
	for name, split := range map[string]func(io.Reader) io.Reader{
		"whole": func(r io.Reader) io.Reader { return r }, "halves": iotest.HalfReader, "bytes": iotest.OneByteReader,
	} {
		r := newFrameReader(split(bytes.NewReader(out.joined())))
		for i, p := range want {
			typ, got, err := r.next()
			if err != nil || typ != frameEvent || !bytes.Equal(got, p) {
				t.Fatalf("%s: frame %d: type %d, %d bytes, error %v; want %d bytes", name, i, typ, len(got), err, len(p))
			}
		}
		if _, _, err := r.next(); err != io.EOF {
			t.Errorf("%s: after the last frame: error %v, want EOF", name, err)
		}
	}
}

func TestFrameIsNeverSplitOverTwoWrites(t *testing.T) {
	t.Parallel()
	var out writes
	w := newFrameWriter(&out)
	w.delay = 0
	for i := range 1000 {
		if err := w.frame(frameEvent, make([]byte, 1+i*37%4000)); err != nil {
			t.Fatal(err)
		}
	}
	w.flush()
	if n := out.count(); n < 10 || n > 200 {
		t.Errorf("1000 frames left in %d writes, want them put together", n)
	}
	for i, b := range out.all {
		r := newFrameReader(bytes.NewReader(b))
		for {
			if _, _, err := r.next(); err == io.EOF {
				break
			} else if err != nil {
				t.Fatalf("write %d is not whole frames: %v", i, err)
			}
		}
	}
}

func TestFrameLeavesWithoutAFlush(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out writes
		w := newFrameWriter(&out)
		w.frame(frameEvent, []byte("a"))
		w.frame(frameEvent, []byte("b"))
		if n := out.count(); n != 0 {
			t.Errorf("%d writes at once, want none", n)
		}
		time.Sleep(2 * flushDelay)
		synctest.Wait()
		if n := out.count(); n != 1 {
			t.Errorf("%d writes after the delay, want 1", n)
		}
		w.frame(frameEvent, []byte("c"))
		time.Sleep(2 * flushDelay)
		synctest.Wait()
		if n := out.count(); n != 2 {
			t.Errorf("%d writes after the second delay, want 2", n)
		}
	})
}

func TestFrameReaderRefuses(t *testing.T) {
	t.Parallel()
	tests := []struct {
		in     string
		broken bool // a breach of the format, as against an end
		err    error
	}{
		{in: "", err: io.EOF},
		{in: "\x00\x00", err: io.ErrUnexpectedEOF},
		{in: "\x00\x00\x00\x05\x11abc", err: io.ErrUnexpectedEOF},
		{in: "\x00\x00\x00\x05\x11", err: io.ErrUnexpectedEOF},
		{in: "\xff\xff\xff\xff\x11abc", broken: true},
		{in: "\x02\x40\x00\x01\x11", broken: true}, // one byte more than MaxFrame
		{in: "\x02\x40\x00\x00\x11", err: io.ErrUnexpectedEOF},
	}
	for _, tt := range tests {
		_, _, err := newFrameReader(bytes.NewReader([]byte(tt.in))).next()
		_, broken := errors.AsType[*frameError](err)
		if broken != tt.broken || tt.err != nil && !errors.Is(err, tt.err) {
			t.Errorf("%q: error %v, want broken %t or %v", tt.in, err, tt.broken, tt.err)
		}
	}
}

func TestLengthAloneAllocatesLittle(t *testing.T) {
	t.Parallel()
	in := append(appendHeader(nil, frameEvent, MaxFrame), 'x')
	r := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			newFrameReader(bytes.NewReader(in)).next()
		}
	})
	if bytes := r.AllocedBytesPerOp(); bytes > 2*growStep {
		t.Errorf("a frame that claims %d bytes and has one allocates %d", MaxFrame, bytes)
	}
}

func TestUpEOFKeepsWhatHappened(t *testing.T) {
	t.Parallel()
	if got := parseCut(appendCut(io.EOF)); got != io.EOF {
		t.Errorf("good end: %v, want EOF", got)
	}
	got := parseCut(appendCut(errors.New("connection reset")))
	if got == nil || got.Error() != "reply cut: connection reset" {
		t.Errorf("cut: %v", got)
	}
	if got := parseCut(appendCut(apierror.New(apierror.UpstreamTimeout, "Too slow."))); !apierror.Is(got, apierror.UpstreamTimeout) {
		t.Errorf("cut with a code: %v, want %s", got, apierror.UpstreamTimeout)
	}
}

func FuzzFrameReader(f *testing.F) {
	f.Add([]byte{}, uint8(1))
	f.Add(appendHeader(nil, frameUpEOF, 0), uint8(3))
	f.Add(append(appendHeader(nil, frameEvent, 3), "abc"...), uint8(2))
	f.Add([]byte("\xff\xff\xff\xff\x11"), uint8(5))
	f.Fuzz(func(t *testing.T, in []byte, step uint8) {
		type frame struct {
			t frameType
			b string
		}
		read := func(r io.Reader) (fs []frame, err error) {
			fr := newFrameReader(r)
			fr.max = 1 << 16
			for {
				typ, b, err := fr.next()
				if err != nil {
					return fs, err
				}
				fs = append(fs, frame{typ, string(b)})
			}
		}
		whole, err1 := read(bytes.NewReader(in))
		split, err2 := read(&stepReader{in, int(step)%16 + 1})
		if len(whole) != len(split) || (err1 == io.EOF) != (err2 == io.EOF) {
			t.Fatalf("%d frames, %v in one piece; %d frames, %v in pieces", len(whole), err1, len(split), err2)
		}
		var again []byte
		for i := range whole {
			if whole[i] != split[i] {
				t.Fatalf("frame %d differs", i)
			}
			again = append(appendHeader(again, whole[i].t, len(whole[i].b)), whole[i].b...)
		}
		if !bytes.HasPrefix(in, again) {
			t.Fatal("frames written again are not what was read")
		}
		// payloads of every kind must not panic either
		parseTurn(in)
		parseUpReq(in)
		parseVectors(in)
		parseCut(in)
		parseErr(in)
	})
}

type stepReader struct {
	b    []byte
	step int
}

func (r *stepReader) Read(p []byte) (int, error) {
	if len(r.b) == 0 {
		return 0, io.EOF
	}
	n := copy(p, r.b[:min(r.step, len(r.b))])
	r.b = r.b[n:]
	return n, nil
}

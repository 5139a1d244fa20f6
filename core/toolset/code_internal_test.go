package toolset

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"github.com/sallyport-gateway/sallyport/sandbox"
	"github.com/sallyport-gateway/sallyport/sdk/apierror"
)

// What the model sees of a program has the vendor's shape, and is bounded.
func TestCodeResult(t *testing.T) {
	t.Parallel()
	l := Limits{ResultText: 2000}
	tests := []struct {
		name   string
		id     sandbox.Language
		r      sandbox.Result
		notes  []string
		want   string // the whole output
		parts  []string
		failed bool
	}{
		{name: "output", id: sandbox.Python, r: sandbox.Result{Stdout: "12\n"}, want: `{"is_truncated":false,"columns":["output"],"rows":[["12\n"]]}`},
		{name: "nothing", id: sandbox.Python, want: `{"is_truncated":false,"columns":["output"],"rows":[[""]]}`},
		{name: "both streams", id: sandbox.Shell, r: sandbox.Result{Stdout: "a", Stderr: "<b>\n", Exit: 3}, want: `{"is_truncated":false,"columns":["output"],"rows":[["a\n<b>\n"]],"exit_code":3}`},
		{name: "an exception", id: sandbox.Python, r: sandbox.Result{Stderr: "ZeroDivisionError\n", Exit: 1}, want: `{"is_truncated":false,"columns":["output"],"rows":[["ZeroDivisionError\n"]],"exit_code":1}`, failed: true},
		{name: "rows", id: sandbox.SQL, r: sandbox.Result{Columns: []string{"n", "s"}, Rows: [][]any{{json.Number("12345678901234567890"), nil}}},
			want: `{"is_truncated":false,"columns":["n","s"],"rows":[[12345678901234567890,null]]}`},
		{name: "no rows", id: sandbox.SQL, r: sandbox.Result{Columns: []string{"n"}}, want: `{"is_truncated":false,"columns":["n"],"rows":[]}`},
		{name: "no result", id: sandbox.SQL, want: `{"is_truncated":false,"columns":["output"],"rows":[[""]]}`},
		{name: "wrong SQL", id: sandbox.SQL, r: sandbox.Result{Stderr: "no such table: x", Exit: 1}, want: `{"is_truncated":false,"columns":["output"],"rows":[["no such table: x"]],"exit_code":1}`, failed: true},
		{name: "files", id: sandbox.Python, r: sandbox.Result{Files: []sandbox.File{{Name: "a.csv", Size: 3}}}, want: `{"is_truncated":false,"columns":["output"],"rows":[[""]],"files":[{"name":"a.csv","size":3}]}`},
		{name: "notes", id: sandbox.Python, notes: []string{"One.", "Two."}, want: `{"is_truncated":false,"columns":["output"],"rows":[[""]],"note":"One. Two."}`},
		{name: "killed", id: sandbox.Shell, r: sandbox.Result{Exit: 137, Killed: "time"}, parts: []string{"it took too long", "is gone", `"exit_code":137`}, failed: true},
		{name: "worker killed", id: sandbox.Python, r: sandbox.Result{Exit: 137, Killed: "worker"}, parts: []string{"variables and files, is gone"}, failed: true},
		{name: "interrupted", id: sandbox.Python, r: sandbox.Result{Exit: 1, Interrupted: "cpu"}, parts: []string{"too much processor time", "as it left them"}, failed: true},
		{name: "lost", id: sandbox.Python, r: sandbox.Result{Lost: "idle"}, parts: []string{"was gone when this call began"}},
		{name: "cut by the sandbox", id: sandbox.Python, r: sandbox.Result{Stdout: "abc", Truncated: true}, want: `{"is_truncated":true,"columns":["output"],"rows":[["abc\n[truncated]"]]}`},
		{name: "cut here", id: sandbox.Python, r: sandbox.Result{Stdout: strings.Repeat("é\"\x01", 5000), Stderr: "the end\n"}, parts: []string{`"is_truncated":true`, "[truncated: a part of 20009 bytes", `the end\n"]]`}},
		{name: "rows cut here", id: sandbox.SQL, r: sandbox.Result{Columns: []string{"s"}, Rows: slicesOf(100, []any{strings.Repeat("x", 98)})}, parts: []string{`"is_truncated":true`, "Only the first 1"}},
		{name: "many files", id: sandbox.Shell, r: sandbox.Result{Files: make([]sandbox.File, 60)}, parts: []string{"10 more files were written."}},
	}
	for _, tt := range tests {
		got := l.codeResult(tt.id, tt.r, tt.notes)
		text := got.Output.Text
		if tt.want != "" && text != tt.want || got.Failed != tt.failed {
			t.Errorf("%s: got %s (failed %v), want %s (failed %v)", tt.name, text, got.Failed, tt.want, tt.failed)
		}
		for _, part := range tt.parts {
			if !strings.Contains(text, part) {
				t.Errorf("%s: %q is missing in %s", tt.name, part, text)
			}
		}
		if !json.Valid([]byte(text)) || !utf8.ValidString(text) || len(text) > 4*l.ResultText {
			t.Errorf("%s: %d bytes that are no JSON or too many: %s", tt.name, len(text), text)
		}
	}
}

func slicesOf(n int, row []any) [][]any {
	rows := make([][]any, n)
	for i := range rows {
		rows[i] = row
	}
	return rows
}

// Whatever a program writes and however much, the result is JSON within its
// bound.
func FuzzFitText(f *testing.F) {
	f.Add("abc", 10)
	f.Add(strings.Repeat("\x01é", 300), 500)
	f.Fuzz(func(t *testing.T, text string, room int) {
		if room < 0 || room > 1<<16 {
			return
		}
		var o codeOutput
		got := o.fitText(joined(text, ""), room)
		if n := size(got); n > room && n > 120 {
			t.Errorf("%d bytes, want at most %d", n, room)
		}
		if !utf8.ValidString(got) {
			t.Errorf("no text: %q", got)
		}
		if !o.IsTruncated && got != joined(text, "") {
			t.Errorf("%q became %q", text, got)
		}
	})
}

func TestProgramArguments(t *testing.T) {
	t.Parallel()
	l := languages[0]
	for arguments, want := range map[string]string{
		`{"code":"1"}`:             "",
		`{"code":""}`:              "",
		`{}`:                       `"code" is missing`,
		`{"code":null}`:            `"code" is missing`,
		`{"code":7}`:               `"code" must be a string, not a number`,
		`{"code":"1","timeout":3}`: `only "code" is read`,
		`{"code":"` + strings.Repeat("x", sandbox.MaxCode+1) + `"}`: "at most",
	} {
		_, err := l.program(json.RawMessage(arguments))
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%.60s: %v, want %q", arguments, err, want)
		}
	}
	if !json.Valid(l.parameters()) || !strings.Contains(string(l.parameters()), `"additionalProperties":false`) {
		t.Errorf("parameters: %s", l.parameters())
	}
}

// Programs see so many tables, with names of so many bytes; of the others the
// model is told, by name while they are few.
func TestProgramTables(t *testing.T) {
	t.Parallel()
	var many []string
	for i := range maxProgramTables + 12 {
		many = append(many, fmt.Sprintf("main.sales.t%d", i))
	}
	long := "main.sales." + strings.Repeat("ü", maxProgramName/2)
	for _, tt := range []struct {
		tables []string
		want   int
		notes  []string
	}{
		{nil, 0, nil},
		{many[:maxProgramTables], maxProgramTables, nil},
		{[]string{long, "main.sales.a"}, 1, []string{"The table " + long[:63] + "… is not here: its full name has 251 bytes"}},
		{many, maxProgramTables, []string{"The table main.sales.t100 is not here: programs see the first 100 tables", "", "", "", "", "", "", "", "", "", "2 more tables are not here."}},
	} {
		names, notes := (&Set{tables: tt.tables}).programTables()
		notes = fewNotes(notes)
		if len(names) != tt.want || len(notes) != len(tt.notes) || slices.Contains(names, long) {
			t.Errorf("%d tables: got %d and %q, want %d", len(tt.tables), len(names), notes, tt.want)
			continue
		}
		for i, want := range tt.notes {
			if !strings.Contains(notes[i], want) {
				t.Errorf("%d tables: note %q, want %q", len(tt.tables), notes[i], want)
			}
		}
	}
}

// testImage is an image over two files.
func testImage(t testing.TB, bytes int) *image {
	t.Helper()
	file := func() *os.File {
		f, err := os.CreateTemp(t.TempDir(), "image")
		if err == nil {
			err = f.Truncate(int64(bytes) / 2)
		}
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	return &image{table: sandbox.Table{Database: file(), CSV: file()}}
}

func closed(im *image) bool {
	_, err := im.table.Database.Stat()
	_, cerr := im.table.CSV.Stat()
	return errors.Is(err, os.ErrClosed) && errors.Is(cerr, os.ErrClosed)
}

// An image is made once, kept within the bound, and its files are closed when
// the cache has let it go and nobody uses it, not before.
func TestImagesAreKeptAndClosed(t *testing.T) {
	t.Parallel()
	c, err := newImageCache(100 << 10)
	if err != nil {
		t.Fatal(err)
	}
	made := 0
	take := func(key string) *image {
		t.Helper()
		im, err := c.take(t.Context(), key, func() (*image, bool, error) {
			made++
			return testImage(t, 60<<10), true, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return im
	}
	first := take("first")
	if again := take("first"); again != first || made != 1 {
		t.Errorf("made %d times, want once", made)
	}
	first.leave()
	first.leave()
	if closed(first) {
		t.Error("closed while the cache keeps it")
	}
	var all []*image
	for i := range 20 { // of which one fits
		all = append(all, take(fmt.Sprint(i)))
	}
	for _, im := range all {
		if closed(im) {
			t.Error("closed while it is used")
		}
		im.leave()
	}
	c.kept.Wait()
	open := 0
	for _, im := range append(all, first) {
		if !closed(im) {
			open++
		}
	}
	if open > 1 {
		t.Errorf("%d images are open, want the one that fits", open)
	}
	held := take("held")
	c.kept.Close()
	for _, im := range append(all, first) {
		if im != held && !closed(im) {
			t.Error("an image outlives the cache")
		}
	}
	if closed(held) {
		t.Error("an image that is used was closed with the cache")
	}
	held.leave()
	if !closed(held) {
		t.Error("an image that nobody uses is open")
	}
}

// Those who ask at once get one image; what is not to be kept is made for each,
// and a failure is nobody else's.
func TestImagesAreMadeOnce(t *testing.T) {
	t.Parallel()
	c, err := newImageCache(1 << 20)
	if err != nil {
		t.Fatal(err)
	}
	defer c.kept.Close()
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		made int
	)
	for range 16 {
		wg.Go(func() {
			im, err := c.take(t.Context(), "key", func() (*image, bool, error) {
				mu.Lock()
				defer mu.Unlock()
				if made++; made == 1 {
					return nil, false, errors.New("the first fails")
				}
				return testImage(t, 1000), true, nil
			})
			if err == nil {
				im.leave()
			}
		})
	}
	wg.Wait()
	if made != 2 {
		t.Errorf("made %d times, want 2", made)
	}
	for range 2 {
		im, err := c.take(t.Context(), "other", func() (*image, bool, error) { made++; return testImage(t, 1000), false, nil })
		if err != nil {
			t.Fatal(err)
		}
		if im.leave(); !closed(im) {
			t.Error("an image that is not kept is open")
		}
	}
	if made != 4 {
		t.Errorf("made %d times, want 4", made)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	begun, end := make(chan struct{}), make(chan struct{})
	wg.Go(func() {
		_, err := c.take(t.Context(), "slow", func() (*image, bool, error) { close(begun); <-end; return nil, false, errors.New("no") })
		if err == nil {
			t.Error("no error")
		}
	})
	<-begun
	if _, err := c.take(ctx, "slow", nil); !errors.Is(err, context.Canceled) {
		t.Errorf("who does not want to wait got %v", err)
	}
	close(end)
	wg.Wait()
}

// The model learns whether to try again at once, later, or with fewer programs.
func TestCodeErrors(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		err  error
		code apierror.Code
		want string
	}{
		{sandbox.ErrBusy, apierror.RateLimited, "since others run on this gateway"},
		{fmt.Errorf("%w; 32 of its programs wait", sandbox.ErrShare), apierror.RateLimited, "this user has too many programs waiting already"},
		{fmt.Errorf("%w: %w", sandbox.ErrPreparing, sandbox.ErrBusy), apierror.RateLimited, "still preparing to run programs"},
		{sandbox.ErrNoGuests, apierror.Unsupported, "none in this language"},
		{sandbox.ErrClosed, apierror.Canceled, "its request is over"},
		{sandbox.ErrWorker, apierror.Unavailable, "Its log tells"},
	} {
		if got := codeError(tt.err); got.Code != tt.code || !strings.Contains(got.Message, tt.want) {
			t.Errorf("%v: %s %q, want %s and %q", tt.err, got.Code, got.Message, tt.code, tt.want)
		}
	}
}

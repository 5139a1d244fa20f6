package catalog

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/sallyport-gateway/sallyport/core/access"
	"github.com/sallyport-gateway/sallyport/sdk/apierror"
)

func TestObject(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	got, err := r.as(t, "alice").Object(t.Context(), "uc_table", "Main.Sales.Reviews")
	if !apierror.Is(err, apierror.Unsupported) {
		t.Errorf("unknown kind gives %v, want unsupported", err)
	}
	got, err = r.as(t, "alice").Object(t.Context(), "table", "Main.Sales.Reviews")
	if err != nil {
		t.Fatal(err)
	}
	if got.Version == "" {
		t.Error("no version")
	}
	got.Version = ""
	if s := fmt.Sprintf("%+v", got); s != "{Kind:table Name:main.sales.reviews Comment:One row per review "+
		"Columns:[{Name:stars Type:VARCHAR Comment:1 to 5} {Name:text Type:VARCHAR Comment:}] Version: Format:csv Dialect:Scanner Spec:[]}" {
		t.Errorf("Object = %s", s)
	}
	hidden := func(name string) string {
		_, err := r.as(t, "alice").Object(t.Context(), "table", name)
		if !apierror.Is(err, apierror.Denied) {
			t.Errorf("Object(%s) gives %v, want denied", name, err)
		}
		return strings.ReplaceAll(err.Error(), name, "X")
	}
	if a, b := hidden("main.hr.salaries"), hidden("main.hr.nothing"); a != b {
		t.Errorf("hidden: %s\nabsent: %s", a, b)
	}
	if _, err := r.as(t, "alice").Object(t.Context(), "table", "reviews"); !apierror.Is(err, apierror.Invalid) {
		t.Errorf("a name of one part gives %v, want invalid", err)
	}
}

func TestColumnsAreFoundOnceAVersion(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.eng.gate = make(chan struct{})
	v := r.as(t, "alice")
	impatient, leave := context.WithCancel(t.Context())
	left := make(chan error)
	go func() {
		_, err := v.Object(impatient, "table", "main.sales.reviews")
		left <- err
	}()
	for len(r.eng.asked()) == 0 {
		time.Sleep(time.Millisecond)
	}
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			if o, err := v.Object(t.Context(), "table", "main.sales.reviews"); err != nil || len(o.Columns) != 2 {
				t.Errorf("Object = %v, %v, want two columns", o, err)
			}
		})
	}
	leave() // the one that started it
	if err := <-left; !apierror.Is(err, apierror.Canceled) {
		t.Errorf("the caller that left got %v, want canceled", err)
	}
	close(r.eng.gate)
	wg.Wait()
	if got := len(r.eng.asked()); got != 1 {
		t.Errorf("the engine was asked %d times, want once", got)
	}
	write(t, filepath.Join(r.dir, "reviews.csv"), "stars,text,more\n5,good,x\n")
	if o, err := v.Object(t.Context(), "table", "main.sales.reviews"); err != nil || len(o.Columns) != 3 {
		t.Errorf("after a change: %v, %v, want three columns", o, err)
	}
	if got := len(r.eng.asked()); got != 2 {
		t.Errorf("the engine was asked %d times, want twice", got)
	}
}

func TestTroubleWithFilesIsToldWithoutPaths(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	acc := service(t, access.Config{Users: []access.User{{Name: "root", Admin: true}}})
	write(t, filepath.Join(dir, "empty", "x.txt"), "")
	write(t, filepath.Join(dir, "ok.csv"), "a\n")
	var logged bytes.Buffer
	eng := &scanner{fail: apierror.New(apierror.Invalid, "Could not sniff %s/ok.csv", dir)}
	c, err := New(Config{"main": {"s": {Tables: map[string]Table{
		"absent": {Location: "absent.csv"}, "empty": {Location: "empty", Format: "csv"}, "nolog": {Location: "empty", Format: "delta"}, "ok": {Location: "ok.csv"},
	}}}}, dir, Own{}, acc, eng, slog.New(slog.NewTextHandler(&logged, nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	root, err := acc.Lookup("root", nil, "")
	if err != nil {
		t.Fatal(err)
	}
	for name, says := range map[string]string{
		"absent": "The files of table main.s.absent are missing.", "empty": "Table main.s.empty has no files yet",
		"nolog": "The files of table main.s.nolog cannot be read", "ok": "The files of table main.s.ok cannot be read as csv.",
	} {
		_, err := c.As(root).Object(t.Context(), "table", "main.s."+name)
		e := apierror.From(err)
		if e == nil || e.Code != apierror.Unavailable || !strings.HasPrefix(e.Message, says) || strings.Contains(e.Message, dir) {
			t.Errorf("%s: %v, want unavailable: %q", name, e, says)
		}
	}
	if asked := eng.asked(); len(asked) != 1 || asked[0].SQL != `SELECT * FROM "main"."s"."ok" LIMIT 0` || asked[0].Relations[0].Name != "main.s.ok" {
		t.Errorf("the engine was asked %+v, want the table under its own name", asked)
	}
	if !strings.Contains(logged.String(), "table=main.s.ok location="+dir+"/ok.csv") {
		t.Errorf("log = %s, want the cause with the path", &logged)
	}
	logged.Reset()
	if _, err := rows(t.Context(), c.As(root), Query{SQL: "SELECT * FROM main.s.absent"}); !apierror.Is(err, apierror.Unavailable) || strings.Contains(apierror.From(err).Message, dir) {
		t.Errorf("query of an absent file: %v", err)
	}
	if !strings.Contains(logged.String(), "table=main.s.absent") || !strings.Contains(logged.String(), "no such file") {
		t.Errorf("log = %s, want the cause", &logged)
	}
	problems := c.Problems(t.Context())
	if len(problems) != 3 || !strings.Contains(problems[0], "no such file") || !strings.Contains(problems[1], "no files yet") || !strings.Contains(problems[2], "not a Delta table") {
		t.Errorf("Problems() = %q, want three", problems)
	}
	if got, want := c.Roots(), []string{dir + "/absent.csv", dir + "/empty", dir + "/ok.csv"}; !slices.Equal(got, want) {
		t.Errorf("Roots() = %q, want %q", got, want)
	}
}

func TestWithoutAnEngine(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "t.csv"), "a\n")
	acc := service(t, access.Config{Users: []access.User{{Name: "root", Admin: true}}})
	c, err := New(Config{"main": {"s": {Tables: map[string]Table{"t": {Location: "t.csv"}}}}}, dir, Own{}, acc, nil, quiet())
	if err != nil {
		t.Fatal(err)
	}
	root, err := acc.Lookup("root", nil, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.As(root).Check("table", "main.s.t", "SELECT"); err != nil {
		t.Errorf("Check: %v", err)
	}
	_, err = rows(t.Context(), c.As(root), Query{SQL: "SELECT 1"})
	if !apierror.Is(err, apierror.Unavailable) {
		t.Errorf("Query: %v, want unavailable", err)
	}
	if _, err = c.As(root).Object(t.Context(), "table", "main.s.t"); !apierror.Is(err, apierror.Unavailable) {
		t.Errorf("Object: %v, want unavailable", err)
	}
	c.Close()
}

func TestConfigOfTheContractLoads(t *testing.T) {
	t.Parallel()
	const text = `
main:
  sales:
    tables:
      reviews: {location: ./samples/reviews.parquet, format: parquet, comment: One row per customer review, columns: {stars: {comment: 1 to 5}}}
`
	var cfg Config
	if err := yaml.UnmarshalWithOptions([]byte(text), &cfg, yaml.Strict()); err != nil {
		t.Fatal(err)
	}
	acc := service(t, access.Config{Users: []access.User{{Name: "root", Admin: true}}})
	c, err := New(cfg, "/etc/sallyport", Own{}, acc, nil, quiet())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got, want := c.Roots(), []string{"/etc/sallyport/samples/reviews.parquet"}; !slices.Equal(got, want) {
		t.Errorf("Roots() = %q, want %q", got, want)
	}
	root, err := acc.Lookup("root", nil, "")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := c.As(root).Tables(), []string{"main.sales.reviews"}; !slices.Equal(got, want) {
		t.Errorf("Tables() = %q, want %q", got, want)
	}
	// Another catalog takes the place of the first, until that announces itself again.
	next, err := New(Config{"other": {"s": {}}}, "", Own{}, acc, nil, quiet())
	if err != nil {
		t.Fatal(err)
	}
	defer next.Close()
	if err := c.As(root).Check("table", "main.sales.reviews", "SELECT"); !apierror.Is(err, apierror.NotFound) {
		t.Errorf("Check after a new catalog = %v, want not found", err)
	}
	if err := c.Announce(); err != nil {
		t.Fatal(err)
	}
	if err := c.As(root).Check("table", "main.sales.reviews", "SELECT"); err != nil {
		t.Errorf("Check after Announce = %v", err)
	}
}

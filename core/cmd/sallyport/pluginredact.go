//go:build unix

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"

	"github.com/sallyport-gateway/sallyport/core/egress"
	"github.com/sallyport-gateway/sallyport/sdk/golden"
	"github.com/sallyport-gateway/sallyport/sdk/provider"
)

// keptHeaders are those of a reply that a translator may look at. All others
// may name the account and are left out.
var keptHeaders = []string{"Content-Type", "Retry-After"}

// telltales are what providers write of an account into their replies.
var telltales = []struct {
	what *regexp.Regexp
	with string
}{
	{regexp.MustCompile(`\borg-[A-Za-z0-9]{6,}`), "org-removed"},
	{regexp.MustCompile(`\bproj_[A-Za-z0-9]{6,}`), "proj_removed"},
	{regexp.MustCompile(`\b(sk|pk|rk)-[A-Za-z0-9_*-]{6,}`), "sk-removed"},
	{regexp.MustCompile(`\bAIza[A-Za-z0-9_*-]{6,}`), "AIza-removed"},
	{regexp.MustCompile(`(?i)\bbearer [A-Za-z0-9._~+/=*-]{8,}`), "Bearer removed"},
	{regexp.MustCompile(`\b[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+\.[A-Za-z]{2,}\b`), "somebody@example.com"},
}

// redact takes the key and what names the account out of a text.
func redact(a *egress.Account, text []byte) []byte {
	text = []byte(a.Scrub(string(text)))
	for _, t := range telltales {
		text = t.what.ReplaceAll(text, []byte(t.with))
	}
	return text
}

// write writes a dialogue down. What it expects is decoded from what stands in
// the file, not from what came, so that the file agrees with itself.
func (r *recorder) write(ctx context.Context, turn provider.Turn, res *egress.Response, body []byte, cut bool) error {
	t := &golden.Turn{Turn: turn, Cut: cut}
	if res != nil {
		t.Status, t.Header, t.Body = res.Status, http.Header{}, redact(r.account, body)
		for name, values := range res.Header {
			kept := slices.Contains(keptHeaders, name) || slices.ContainsFunc(r.manifest.RequestIDs, func(id string) bool { return http.CanonicalHeaderKey(id) == name })
			if kept {
				for _, v := range values {
					t.Header.Add(name, string(redact(r.account, []byte(v))))
				}
			}
		}
	}
	const head = "Recorded with `sallyport plugin record`. Say here what the dialogue shows and why\nit matters.\n\n"
	a, err := t.Archive(head, nil, "")
	if err != nil {
		return fmt.Errorf("write the dialogue: %w", err)
	}
	if t, err = golden.ReadTurn(golden.Parse(a.Bytes())); err != nil {
		return fmt.Errorf("write the dialogue: %w", err)
	}
	if res != nil && !bytes.Equal(bytes.TrimSuffix(t.Body, []byte("\n")), bytes.TrimSuffix(redact(r.account, body), []byte("\n"))) {
		return errors.New("write the dialogue: the reply has lines that look like a section's name, so it cannot be kept in a txtar file")
	}
	var up *provider.Upstream
	var events string
	ex, err := r.translator.Begin(ctx, t.Turn)
	if err != nil {
		events = golden.ErrorLine(err)
	} else {
		up = ex.Upstream()
		o := golden.Decode(ctx, ex, t.Reply(t.Body))
		events = o.Text()
		if o.Broken != nil {
			fmt.Fprintf(r.log, "the events of this dialogue break a rule (%s): %v\n", o.Broken.Rule, o.Broken)
		}
	}
	if up != nil {
		if wrong := golden.CheckUpstream(up); len(wrong) > 0 {
			return fmt.Errorf("the dialogue is not recorded (%s): %w", wrong[0].Rule, wrong[0])
		}
	}
	if a, err = t.Archive(head, up, events); err != nil {
		return fmt.Errorf("write the dialogue: %w", err)
	}
	return r.save(a)
}

// save writes the file under the next name that is free.
func (r *recorder) save(a *golden.Archive) error {
	for n := 1; ; n++ {
		path := filepath.Join(r.dir, fmt.Sprintf("recorded-%03d.txtar", n))
		f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return err
		}
		_, err = f.Write(a.Bytes())
		if err = errors.Join(err, f.Close()); err != nil {
			return err
		}
		fmt.Fprintln(r.log, "recorded", path)
		return nil
	}
}

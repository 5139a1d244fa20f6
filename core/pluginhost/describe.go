package pluginhost

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode"

	"github.com/sallyport-gateway/sallyport/sdk/boot"
	"github.com/sallyport-gateway/sallyport/sdk/engine"
	"github.com/sallyport-gateway/sallyport/sdk/pipe"
	"github.com/sallyport-gateway/sallyport/sdk/provider"
	"github.com/sallyport-gateway/sallyport/sdk/tool"
)

const (
	describeWait    = 5 * time.Second
	describeBytes   = 1 << 20 // longest description
	maxPluginName   = 64
	nameExplanation = "use lower-case letters, digits, '-' and '_', at most 64"

	versionCharacters  = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.+_-"
	versionExplanation = "use letters, digits, '.', '+', '_' and '-', at most 64"

	// Limits of the other texts of a manifest that are shown.
	maxShown       = 256
	maxShownPath   = 1024
	maxShownValues = 256
)

// Described is what a plugin says of itself.
type Described struct {
	Kind, Name, Version string
	Requires            boot.Requires

	Provider provider.Manifest // of the kind "provider"
	Tool     tool.Manifest     // of the kind "tool"
	Engine   engine.Manifest   // of the kind "engine"
}

// ParseDescription reads the line that `PLUGIN describe` prints.
func ParseDescription(line []byte) (Described, error) {
	var in boot.Description
	if err := json.Unmarshal(line, &in); err != nil {
		return Described{}, fmt.Errorf("describe did not print one line of JSON but %q", shorten(string(line)))
	}
	if in.Protocol != boot.Protocol {
		return Described{}, fmt.Errorf("speaks protocol %d, this gateway speaks %d", in.Protocol, boot.Protocol)
	}
	d := Described{Kind: in.Kind}
	var err error
	switch in.Kind {
	case boot.Provider:
		err = json.Unmarshal(in.Manifest, &d.Provider)
		d.Name, d.Version, d.Requires = d.Provider.Name, d.Provider.Version, d.Provider.Requires
	case boot.Tool:
		err = json.Unmarshal(in.Manifest, &d.Tool)
		d.Name, d.Version, d.Requires = d.Tool.Type, d.Tool.Version, d.Tool.Requires
	case boot.Engine:
		err = json.Unmarshal(in.Manifest, &d.Engine)
		d.Name, d.Version, d.Requires = d.Engine.Name, d.Engine.Version, d.Engine.Requires
	default:
		return Described{}, fmt.Errorf("is of kind %q; this gateway knows %s, %s and %s", shorten(in.Kind), boot.Provider, boot.Tool, boot.Engine)
	}
	if err != nil {
		return Described{}, fmt.Errorf("manifest: %w", err)
	}
	if !validName(d.Name) {
		return Described{}, fmt.Errorf("has the name %q: %s", shorten(d.Name), nameExplanation)
	}
	if err := d.checkTexts(); err != nil {
		return Described{}, err
	}
	if err := d.Provider.Check(); err != nil {
		return Described{}, fmt.Errorf("manifest: %w", err)
	}
	return d, nil
}

// checkTexts refuses what could make an operator read something else than what
// is there: what is shown for consent and stands in messages is short, and has
// neither line breaks nor control characters.
func (d *Described) checkTexts() error {
	for _, c := range d.Version {
		if !strings.ContainsRune(versionCharacters, c) {
			return fmt.Errorf("has the version %q: %s", shorten(d.Version), versionExplanation)
		}
	}
	if len(d.Version) > maxPluginName {
		return fmt.Errorf("has the version %q: %s", shorten(d.Version), versionExplanation)
	}
	type text struct {
		key    string
		values []string
		most   int // bytes of each
	}
	texts := []text{
		{"targets", d.Tool.Targets, maxPluginName},
		{"scope", []string{d.Tool.Scope}, maxShown},
		{"base_url", []string{d.Provider.BaseURL}, maxShown},
		{"credential", []string{d.Provider.Credential.Scheme, d.Provider.Credential.Name}, maxShown},
		{"carry", d.Provider.Carry, maxShown},
		{"request_ids", d.Provider.RequestIDs, maxShown},
		{"dialect", []string{d.Engine.Dialect}, maxPluginName},
		{"formats", d.Engine.Formats, maxPluginName},
		{"requires.read", d.Requires.Read, maxShownPath},
	}
	if o := d.Tool.Object; o != nil {
		texts = append(texts, text{"object", []string{o.Field, o.Kind, o.Privilege}, maxShown})
	}
	for _, t := range texts {
		if len(t.values) > maxShownValues {
			return fmt.Errorf("manifest: %s: has %d values; at most %d are allowed", t.key, len(t.values), maxShownValues)
		}
		for _, v := range t.values {
			if len(v) > t.most || strings.ContainsFunc(v, func(c rune) bool { return !unicode.IsPrint(c) }) {
				return fmt.Errorf("manifest: %s: %q must be printable, in one line of at most %d bytes", t.key, shorten(v), t.most)
			}
		}
	}
	return nil
}

func validName(s string) bool {
	for _, c := range s {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return s != "" && len(s) <= maxPluginName
}

// describe runs a command that prints one line and ends: a plugin that is asked
// what it is.
func describe(ctx context.Context, s *starter, cmd *exec.Cmd, log *slog.Logger) ([]byte, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	er, ew, err := os.Pipe()
	if err != nil {
		w.Close()
		return nil, err
	}
	defer er.Close()
	cmd.Stdout, cmd.Stderr = w, ew
	err = s.run(cmd)
	w.Close()
	ew.Close()
	if err != nil {
		return nil, errors.New("could not be started: " + startHint(err))
	}
	ctx, cancel := context.WithTimeout(ctx, describeWait)
	defer cancel()
	var mu sync.Mutex
	reaped, killed := false, false
	kill := func() {
		mu.Lock()
		defer mu.Unlock()
		if !reaped {
			killed = true
			killGroup(cmd.Process.Pid)
		}
		late := time.Now().Add(outputGrace) // something that left the group may hold the pipes
		r.SetReadDeadline(late)
		er.SetReadDeadline(late)
	}
	defer context.AfterFunc(ctx, kill)()

	said := newStderrLog(log.With(slog.Bool("describe", true)))
	var wg sync.WaitGroup
	wg.Go(func() { eachLine(&pipe.Reader{F: er}, said.line) })
	out, readErr := io.ReadAll(io.LimitReader(&pipe.Reader{F: r}, describeBytes+1))
	if len(out) > describeBytes {
		kill()
	}
	awaitExit(cmd.Process.Pid)
	mu.Lock()
	killGroup(cmd.Process.Pid) // children left behind would hold the pipes open
	reaped = true
	mu.Unlock()
	err = cmd.Wait()
	wg.Wait()
	said.end()
	switch {
	case len(out) > describeBytes:
		return nil, fmt.Errorf("describe printed more than %d bytes", describeBytes)
	case killed && ctx.Err() != nil && context.Cause(ctx) != context.DeadlineExceeded:
		return nil, context.Cause(ctx)
	case killed:
		return nil, fmt.Errorf("describe did not end within %s", describeWait)
	case err != nil:
		return nil, fmt.Errorf("describe %s", describeEnd(cmd.ProcessState, out, said))
	case readErr != nil:
		return nil, readErr
	}
	return bytes.TrimSpace(out), nil
}

// describeEnd says how a describe that failed ended, and the last it said.
func describeEnd(st *os.ProcessState, out []byte, said *stderrLog) string {
	how := fmt.Sprintf("ended with status %d", st.ExitCode())
	if ws, ok := st.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		how = fmt.Sprintf("was killed by signal %d (%s)", int(ws.Signal()), ws.Signal())
	}
	out = bytes.TrimSpace(out)
	switch line := said.reason(); {
	case line != "":
		return how + ": " + shorten(line)
	case len(out) > 0:
		return fmt.Sprintf("%s after it printed %q", how, shorten(string(out)))
	case said.silent():
		return how + " and printed nothing"
	}
	return how + " and gave no reason"
}

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
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/sallyport-gateway/sallyport/sdk/boot"
	"github.com/sallyport-gateway/sallyport/sdk/engine"
	"github.com/sallyport-gateway/sallyport/sdk/provider"
	"github.com/sallyport-gateway/sallyport/sdk/tool"
)

const (
	describeWait    = 5 * time.Second
	describeBytes   = 1 << 20 // longest description
	describeAtOnce  = 4
	maxPlugins      = 256 // executables in all directories
	maxPluginName   = 64
	nameExplanation = "use lower-case letters, digits, '-' and '_', at most 64"
)

// plugin is a program that described itself. It is immutable.
type plugin struct {
	kind, name, version string
	path                string
	stamp               stamp
	settings            json.RawMessage

	provider provider.Manifest
	tool     tool.Manifest
	engine   engine.Manifest

	refused string // why it is not used; then the fields above may be empty
}

// stamp tells one content of a file from another without reading it.
type stamp struct {
	size, mtime int64
	inode       uint64
}

// slotName is what a plugin is asked for by: no two may have the same.
type slotName struct{ kind, name string }

func (p *plugin) slot() slotName { return slotName{p.kind, p.name} }

// executables lists the programs in the plugin directories, in order. A file
// that has a plugin's name is one even when it is not executable, so that it
// can be told; what else is not executable is ignored, and so is what is hidden.
func executables(dirs []string) ([]string, error) {
	var paths []string
	for _, dir := range dirs {
		if err := checkDir(dir); err != nil {
			return nil, err
		}
		entries, err := os.ReadDir(dir)
		if err != nil {
			return nil, fmt.Errorf("plugin directory %q: %w", dir, err)
		}
		for _, e := range entries {
			path := filepath.Join(dir, e.Name())
			info, err := os.Stat(path) // through a symbolic link
			if err != nil || !info.Mode().IsRegular() || strings.HasPrefix(e.Name(), ".") || !executable(info) && !validName(e.Name()) {
				continue
			}
			paths = append(paths, path)
		}
	}
	if len(paths) > maxPlugins {
		return nil, fmt.Errorf("plugin directories %s hold %d programs, at most %d", strings.Join(dirs, ", "), len(paths), maxPlugins)
	}
	return paths, nil
}

func executable(info os.FileInfo) bool { return info.Mode().Perm()&0o111 != 0 }

// checkDir refuses a directory that somebody else could put a program into.
func checkDir(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("plugin directory %q: %w", dir, err)
	}
	if !info.IsDir() {
		return fmt.Errorf("plugin directory %q is not a directory", dir)
	}
	if err := checkOwned(info); err != nil {
		return fmt.Errorf("plugin directory %q %w", dir, err)
	}
	return nil
}

// checkOwned refuses what others than the gateway's user and root may change.
func checkOwned(info os.FileInfo) error {
	if perm := info.Mode().Perm(); perm&0o002 != 0 {
		return fmt.Errorf("is writable by everybody (mode %04o): whoever can change it can run programs as the gateway; run chmod o-w", perm)
	} else if perm&0o020 != 0 && groupOf(info) != os.Getegid() {
		return fmt.Errorf("is writable by another group (mode %04o): run chmod g-w", perm)
	}
	if uid := ownerOf(info); uid != 0 && uid != os.Geteuid() {
		return fmt.Errorf("belongs to user %d, who is neither root nor the gateway's user", uid)
	}
	return nil
}

// scan asks every program in the directories what it is. A program that cannot
// say is listed as refused; it does not stop the others.
func (h *Host) scan(ctx context.Context) ([]*plugin, error) {
	paths, err := executables(h.cfg.Dirs)
	if err != nil {
		return nil, err
	}
	found := make([]*plugin, len(paths))
	free := make(chan struct{}, describeAtOnce)
	var wg sync.WaitGroup
	for i, path := range paths {
		wg.Go(func() {
			free <- struct{}{}
			defer func() { <-free }()
			p, err := h.describe(ctx, path)
			if err != nil {
				p = &plugin{path: path, name: filepath.Base(path), refused: err.Error()}
			}
			found[i] = p
		})
	}
	wg.Wait()
	refuseDoubles(found)
	return found, nil
}

// refuseDoubles refuses every plugin whose kind and name another one has too:
// which one was meant cannot be known.
func refuseDoubles(ps []*plugin) {
	byName := make(map[slotName][]*plugin)
	for _, p := range ps {
		if p.refused == "" {
			byName[p.slot()] = append(byName[p.slot()], p)
		}
	}
	for name, same := range byName {
		if len(same) < 2 {
			continue
		}
		var paths []string
		for _, p := range same {
			paths = append(paths, p.path)
		}
		for _, p := range same {
			p.refused = fmt.Sprintf("%d plugins offer the %s %q, none of them is used: %s; remove all but one", len(same), name.kind, name.name, strings.Join(paths, ", "))
		}
	}
}

// describe runs `<program> describe`.
func (h *Host) describe(ctx context.Context, path string) (*plugin, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !executable(info) {
		return nil, fmt.Errorf("%s is not executable: chmod +x it", filepath.Base(path))
	}
	if err := checkOwned(info); err != nil {
		return nil, fmt.Errorf("the file %w", err)
	}
	if real, err := filepath.EvalSymlinks(path); err != nil {
		return nil, err
	} else if err := checkDir(filepath.Dir(real)); err != nil { // where a symbolic link leads
		return nil, err
	}
	dir, err := h.run.process()
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	cmd, err := h.command(Launch{Path: path, Args: []string{"describe"}}, dir)
	if err != nil {
		return nil, err
	}
	out, err := h.output(ctx, cmd, path)
	if err != nil {
		return nil, err
	}
	p, err := parseDescription(out)
	if err != nil {
		return nil, err
	}
	p.path, p.stamp, p.settings = path, stampOf(info), h.cfg.Settings[p.name]
	return p, nil
}

func parseDescription(line []byte) (*plugin, error) {
	var d boot.Description
	if err := json.Unmarshal(line, &d); err != nil {
		return nil, fmt.Errorf("describe did not print one line of JSON but %q", shorten(string(line)))
	}
	if d.Protocol != boot.Protocol {
		return nil, fmt.Errorf("speaks protocol %d, this gateway speaks %d", d.Protocol, boot.Protocol)
	}
	p := &plugin{kind: d.Kind}
	var err error
	switch d.Kind {
	case boot.Provider:
		err = json.Unmarshal(d.Manifest, &p.provider)
		p.name, p.version = p.provider.Name, p.provider.Version
	case boot.Tool:
		err = json.Unmarshal(d.Manifest, &p.tool)
		p.name, p.version = p.tool.Type, p.tool.Version
	case boot.Engine:
		err = json.Unmarshal(d.Manifest, &p.engine)
		p.name, p.version = p.engine.Name, p.engine.Version
	default:
		return nil, fmt.Errorf("is of kind %q; this gateway knows %s, %s and %s", shorten(d.Kind), boot.Provider, boot.Tool, boot.Engine)
	}
	if err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	if !validName(p.name) {
		return nil, fmt.Errorf("has the name %q: %s", shorten(p.name), nameExplanation)
	}
	return p, nil
}

func validName(s string) bool {
	for _, c := range s {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return s != "" && len(s) <= maxPluginName
}

// output runs a program that prints one line and ends.
func (h *Host) output(ctx context.Context, cmd *command, path string) ([]byte, error) {
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
	err = h.starter.run(cmd)
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

	said := &stderrLog{log: h.log.With("plugin", filepath.Base(path), slog.Bool("describe", true))}
	var wg sync.WaitGroup
	wg.Go(func() { eachLine(er, said.line) })
	out, readErr := io.ReadAll(io.LimitReader(r, describeBytes+1))
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
	switch {
	case len(out) > describeBytes:
		return nil, fmt.Errorf("describe printed more than %d bytes", describeBytes)
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

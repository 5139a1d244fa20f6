package gateway

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sallyport-gateway/sallyport/core/config"
	"github.com/sallyport-gateway/sallyport/core/httpapi"
	"github.com/sallyport-gateway/sallyport/core/metrics"
	"github.com/sallyport-gateway/sallyport/core/pluginhost"
	"github.com/sallyport-gateway/sallyport/core/pluginlock"
	"github.com/sallyport-gateway/sallyport/core/toolset"
	"github.com/sallyport-gateway/sallyport/sandbox"
	"github.com/sallyport-gateway/sallyport/sdk/confine"
)

// WorkerCommand is the hidden sub-command by which the gateway's own program
// becomes a process that runs models' programs.
const WorkerCommand = "sandbox-worker"

// code is code execution. It begins when the gateway serves.
type code struct {
	box     atomic.Pointer[sandbox.Sandbox]
	missing atomic.Pointer[string] // why there is none, for everybody to read
}

// guests is the directory of the guests.
func guests(cfg *config.Config) string {
	if cfg.CodeExecution.Guests != "" {
		return cfg.CodeExecution.Guests
	}
	exe, err := os.Executable()
	if err == nil {
		exe, err = filepath.EvalSymlinks(exe)
	}
	if err != nil {
		return "guests"
	}
	return filepath.Join(filepath.Dir(exe), "guests")
}

// compiledGuests is the directory of the guests' machine code: that beside them
// if nobody else may write there, or one in the data directory.
func compiledGuests(cfg *config.Config) string {
	if cfg.CodeExecution.Cache != "" {
		return cfg.CodeExecution.Cache
	}
	beside := filepath.Join(guests(cfg), "compiled")
	if info, err := os.Lstat(beside); err == nil && info.IsDir() && pluginlock.CheckOwned(info) == nil {
		if _, err := os.ReadDir(beside); err == nil {
			return beside
		}
	}
	return leftover(cfg)
}

// leftover is the directory of compiled guests that a gateway made while it had
// none beside the guests.
func leftover(cfg *config.Config) string {
	return cfg.Path(filepath.Join(cfg.Data.Dir, "guests-cache"))
}

// wantedLanguages are those that the operator wants models to have.
func wantedLanguages(cfg *config.Config) []sandbox.Language {
	if len(cfg.CodeExecution.Languages) == 0 {
		return sandboxLanguages(config.Languages)
	}
	return sandboxLanguages(cfg.CodeExecution.Languages)
}

func sandboxLanguages(names []string) []sandbox.Language {
	all := make([]sandbox.Language, len(names))
	for i, l := range names {
		all[i] = sandbox.Language(l)
	}
	return all
}

// CodeReport is what a gateway will have of code execution.
type CodeReport struct {
	Languages []string // in which programs can be run
	Lost      []string // those that models are offered and cannot have
	Notes     []string // a sentence for the operator about each thing that is missing, of no use or slow
}

// CodeExecution says what a gateway of cfg will have of code execution. The
// guests are read and compared with their hashes; no process is started.
func CodeExecution(cfg *config.Config) CodeReport {
	var r CodeReport
	r.Languages, r.Notes = codeNotes(cfg)
	for _, l := range wantedLanguages(cfg) {
		if cfg.CodeExecution.Offer != toolset.OfferNever && !slices.Contains(r.Languages, string(l)) {
			r.Lost = append(r.Lost, string(l))
		}
	}
	return r
}

func codeNotes(cfg *config.Config) (languages, notes []string) {
	whole, broken, err := sandbox.Verify(guests(cfg))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, []string{"models run no programs: there are no guests in " + guests(cfg) + "; `make build` makes them, and code_execution.guests names another directory"}
	case err != nil:
		return nil, []string{"models run no programs: " + err.Error()}
	}
	for _, l := range wantedLanguages(cfg) {
		if slices.Contains(whole, l) {
			languages = append(languages, string(l))
		}
		if err := broken[l]; err != nil {
			notes = append(notes, fmt.Sprintf("models run no programs in %s: its guest in %s %s: %s; `make build` makes it again", l, guests(cfg), condition(err), strings.ReplaceAll(err.Error(), "\n", ", ")))
		}
	}
	notes = append(notes, absent(cfg, whole, broken)...)
	dir := compiledGuests(cfg)
	if err := checkCompiled(dir); err != nil {
		notes = append(notes, fmt.Sprintf("the directory of compiled guests is of no use, so that models run no programs: %s %v; code_execution.cache names another", dir, err))
		return nil, notes
	}
	if err := sandbox.Compiled(guests(cfg), dir); err != nil {
		notes = append(notes, fmt.Sprintf("after a start programs wait until the guests are compiled, a minute or more: %s: %v; `make build` does that beforehand", dir, err))
	}
	return languages, notes
}

// condition says what is the matter with a guest that is of no use.
func condition(broken error) string {
	if errors.Is(broken, fs.ErrNotExist) {
		return "is missing"
	}
	return "is damaged"
}

// absent has a sentence for each thing that was never built.
func absent(cfg *config.Config, whole []sandbox.Language, broken map[sandbox.Language]error) (notes []string) {
	for _, l := range wantedLanguages(cfg) {
		if !slices.Contains(whole, l) && broken[l] == nil {
			notes = append(notes, fmt.Sprintf("models run no programs in %s: there is no guest for it in %s; `make build` says why", l, guests(cfg)))
		}
	}
	if !slices.Contains(whole, sandbox.SQL) {
		state := "is missing"
		if err := broken[sandbox.SQL]; err != nil {
			state = condition(err)
		}
		notes = append(notes, "programs see no tables: the guest of sql prepares them, and it "+state)
	}
	return notes
}

// checkCompiled looks at a directory of compiled guests without changing
// anything: whether it is there or can be made, nobody else may write to it, and
// it holds something or can be filled. Errors go on after its name.
func checkCompiled(dir string) error {
	info, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		parent := filepath.Dir(dir)
		for err = error(fs.ErrNotExist); errors.Is(err, fs.ErrNotExist) && parent != filepath.Dir(parent); parent = filepath.Dir(parent) {
			if info, err = os.Stat(parent); err == nil {
				break
			}
		}
		switch {
		case err != nil:
			return fmt.Errorf("cannot be made: %w", err)
		case !info.IsDir():
			return fmt.Errorf("cannot be made: %s is not a directory", parent)
		case unix.Access(parent, unix.W_OK) != nil:
			return fmt.Errorf("cannot be made: this user may not write to %s", parent)
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot be used: %w", err)
	}
	if !info.IsDir() {
		return errors.New("is not a directory")
	}
	if perm := info.Mode().Perm(); perm&0o022 != 0 {
		return fmt.Errorf("can be written by others (mode %04o), and what is in it is executed: make it 0700", perm)
	}
	if err := pluginlock.CheckOwned(info); err != nil {
		return err
	}
	held, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("cannot be read: %w", err)
	}
	if len(held) == 0 && unix.Access(dir, unix.W_OK) != nil {
		return errors.New("is empty, and this user may not write to it")
	}
	return nil
}

// openCode starts code execution, if there is any here. Without it the gateway
// serves everything else. The box takes every guest that is there, whatever
// languages are offered now: a reload may offer others.
func (g *Gateway) openCode() {
	cfg := g.codeConfig().CodeExecution
	quiet := cfg.Offer == toolset.OfferNever
	warn := func(notes ...string) {
		for _, note := range notes {
			if !quiet {
				g.log.Warn("code execution: " + note)
			}
		}
	}
	if dir, used := leftover(g.cfg), compiledGuests(g.cfg); dir != used && !strings.HasPrefix(used, dir+string(filepath.Separator)) {
		if err := os.RemoveAll(dir); err != nil {
			g.log.Warn("code execution: compiled guests that are not used any more stay", "error", err)
		}
	}
	box, err := sandbox.New(sandbox.Config{
		Guests: guests(g.cfg), Cache: compiledGuests(g.cfg), Workers: cfg.Workers, Shared: cfg.Shared, Limits: codeLimits(g.cfg), Start: g.startWorker, Log: g.log,
	})
	if errors.Is(err, fs.ErrNotExist) && errors.Is(err, sandbox.ErrNoGuests) {
		warn(CodeExecution(g.codeConfig()).Notes...)
		g.code.missing.Store(new("no program can be run: there are no guests; the log says where they were looked for, and once they are made `sallyport reload` takes them"))
		return
	}
	if err != nil {
		g.log.Error("code execution: models run no programs", "error", err)
		g.code.missing.Store(new("no program can be run: it could not be started; the log says why, and `sallyport reload` tries it again"))
		return
	}
	g.code.box.Store(box)
	g.code.missing.Store(nil)
	languages := box.Languages()
	warn(absent(g.codeConfig(), languages, box.Broken())...)
	g.log.Info("code execution", "languages", languages, "offer", cfg.Offer, "guests", guests(g.cfg))
}

// codeConfig is the configuration that was started with, with what is offered
// now: the rest of code execution is read at the start only.
func (g *Gateway) codeConfig() *config.Config {
	cfg := *g.cfg
	if gen := g.current.Load(); gen != nil {
		cfg.CodeExecution.Offer, cfg.CodeExecution.Languages = gen.cfg.CodeExecution.Offer, gen.cfg.CodeExecution.Languages
	}
	return &cfg
}

// reopenCode is a reload's look at the guests. Where there was no code execution
// it tries again. A box that there is stays as it is, since programs run in it:
// of guests that were made meanwhile it is said that they wait for the next
// start. The warnings are what is wrong now. g.applying is held.
func (g *Gateway) reopenCode() (warnings []string) {
	if g.code.missing.Load() != nil {
		g.openCode()
	}
	_, warnings = g.codeHealth()
	box := g.code.box.Load()
	if box == nil || len(warnings) == 0 {
		return warnings
	}
	whole, _, _ := sandbox.Verify(guests(g.cfg)) // without any, nothing waits
	there := box.Languages()
	if waiting := slices.DeleteFunc(whole, func(l sandbox.Language) bool { return slices.Contains(there, l) }); len(waiting) > 0 {
		warnings = append(warnings, fmt.Sprintf("code execution: guests that are whole now, and taken when the gateway is started again: %s", joined(waiting)))
	}
	return warnings
}

func joined(languages []sandbox.Language) string {
	names := make([]string, len(languages))
	for i, l := range languages {
		names[i] = string(l)
	}
	return strings.Join(names, ", ")
}

// closeCode ends the programs that run, and the workers.
func (g *Gateway) closeCode() error {
	if box := g.code.box.Load(); box != nil {
		return box.Close()
	}
	return nil
}

// startWorker starts a worker: this program again, confined as plugins are. It
// keeps the guests, and the directory of compiled ones until it has loaded them.
func (g *Gateway) startWorker(_ context.Context, socket *os.File) (*exec.Cmd, error) {
	read, write, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer write.Close()
	policy := confine.Policy{ReadDirs: append(confine.SystemDirs(), guests(g.cfg)), WriteDirs: []string{compiledGuests(g.cfg)}, MemoryFiles: true}
	cmd, err := pluginhost.Worker{
		Launcher: g.cfg.Launcher, Unconfined: g.cfg.Unconfined == "allow", Path: g.cfg.Worker, Args: []string{WorkerCommand},
		Policy: policy, Socket: socket,
	}.Start(write)
	if err != nil {
		read.Close()
		return nil, fmt.Errorf("worker of code execution: %w", err)
	}
	go g.logWorker(cmd.Process.Pid, read) // ends with the process
	return cmd, nil
}

// What a worker may say, lines and bytes of each. It has nothing to say but why
// it ends.
const (
	workerLines = 200
	workerLine  = 1 << 10
)

func (g *Gateway) logWorker(pid int, from *os.File) {
	defer from.Close()
	lines := bufio.NewReaderSize(from, workerLine)
	for n := 0; ; n++ {
		line, _, err := lines.ReadLine()
		if err != nil {
			return
		}
		if n < workerLines {
			g.log.Warn("worker of code execution", "pid", pid, "says", strings.ToValidUTF8(string(line), "\uFFFD"))
		}
	}
}

func codeLimits(cfg *config.Config) sandbox.Limits {
	l := cfg.CodeExecution.Limits
	return sandbox.Limits{Wall: l.Wall, CPU: l.CPU, Memory: l.Memory, Output: l.Output, Scratch: l.Scratch, Sessions: l.Sessions}
}

// changedCode names the keys of code execution that are read at the start only,
// and were other then. The others act at a reload.
func changedCode(old, cfg *config.Config) (keys []string) {
	was, is := old.CodeExecution, cfg.CodeExecution
	for _, k := range []struct {
		name  string
		other bool
	}{
		{"guests", was.Guests != is.Guests},
		{"cache", was.Cache != is.Cache},
		{"workers", was.Workers != is.Workers},
		{"shared", was.Shared != is.Shared},
		{"limits.wall", was.Limits.Wall != is.Limits.Wall},
		{"limits.cpu", was.Limits.CPU != is.Limits.CPU},
		{"limits.memory", was.Limits.Memory != is.Limits.Memory},
		{"limits.output", was.Limits.Output != is.Limits.Output},
		{"limits.scratch", was.Limits.Scratch != is.Limits.Scratch},
		{"limits.sessions", was.Limits.Sessions != is.Limits.Sessions},
	} {
		if k.other {
			keys = append(keys, "code_execution."+k.name)
		}
	}
	return keys
}

// toolCode is what a generation's tools have of code execution.
func (g *Gateway) toolCode(cfg *config.Config) toolset.Code {
	e := cfg.CodeExecution
	c := toolset.Code{Sandbox: g.code.box.Load, Offer: e.Offer, Limits: codeLimits(g.cfg), TableBytes: e.Limits.Table, CacheBytes: e.Limits.Tables}
	if e.Languages != nil {
		c.Languages = sandboxLanguages(e.Languages)
	}
	return c
}

// slowCode is after how long /health says that programs wait for the first worker.
const slowCode = 2 * time.Second

// codeHealth is what /health says of code execution. What models are offered
// and cannot have is a problem that an administrator should look at.
func (g *Gateway) codeHealth() (h httpapi.CodeHealth, problems []string) {
	cfg := g.cfg
	if gen := g.current.Load(); gen != nil {
		cfg = gen.cfg
	}
	h, wrong := g.codeState(cfg)
	if h.Offer == toolset.OfferNever { // then nothing is missing
		h.Missing = ""
		return h, nil
	}
	for _, w := range wrong {
		problems = append(problems, "code execution: "+w)
	}
	return h, problems
}

// codeState says what there is of code execution, and what is wrong with it.
func (g *Gateway) codeState(cfg *config.Config) (h httpapi.CodeHealth, wrong []string) {
	h.Languages, h.Offer = []string{}, cfg.CodeExecution.Offer
	if why := g.code.missing.Load(); why != nil {
		h.Missing = *why
		return h, []string{*why}
	}
	box := g.code.box.Load()
	if box == nil { // soon
		return h, nil
	}
	there, broken := box.Languages(), box.Broken()
	state := func(l sandbox.Language) string {
		if err := broken[l]; err != nil {
			return condition(err)
		}
		return "was never made"
	}
	for _, l := range wantedLanguages(cfg) {
		if slices.Contains(there, l) {
			h.Languages = append(h.Languages, string(l))
		} else {
			wrong = append(wrong, fmt.Sprintf("programs in %s cannot be run: its guest %s; once it is made, the gateway must be started again", l, state(l)))
		}
	}
	if !slices.Contains(there, sandbox.SQL) && slices.ContainsFunc(h.Languages, func(l string) bool { return l != string(sandbox.SQL) }) {
		wrong = append(wrong, fmt.Sprintf("programs see no tables: the guest of sql prepares them, and it %s; once it is made, the gateway must be started again", state(sandbox.SQL)))
	}
	h.Missing = strings.Join(wrong, "; ")
	now := box.Stats()
	switch {
	case now.Fault != nil:
		wrong = append(wrong, "no program can be run at the moment")
	case now.SlowStarts > 1:
		wrong = append(wrong, "each process that runs programs takes long to start, as if it compiled the guests; the log says more")
	}
	if now.Preparing >= slowCode {
		h.Preparing = fmt.Sprintf("programs wait for the first process that runs them, on its way for %s; where the guests are not compiled yet, it does that first", now.Preparing.Round(time.Second))
	}
	return h, wrong
}

// codeStats is what metrics say of code execution: zeros where there is none.
func (g *Gateway) codeStats() metrics.CodeStats {
	box := g.code.box.Load()
	if box == nil {
		return metrics.CodeStats{}
	}
	now := box.Stats()
	return metrics.CodeStats{Workers: now.Workers, Sessions: now.Sessions, Running: now.Running, Waiting: now.Waiting, Memory: now.Memory}
}

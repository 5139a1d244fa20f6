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

// workerNice is how much workers yield the processor to everything else.
const workerNice = 5

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
	return cfg.Path(filepath.Join(cfg.Data.Dir, "guests-cache"))
}

// CodeExecution says what a gateway of cfg will have of code execution: its
// languages, and a sentence for the operator about what is missing, "" if
// nothing is. No process is started.
func CodeExecution(cfg *config.Config) (languages []string, missing string) {
	there, err := sandbox.Installed(guests(cfg))
	if err != nil {
		why := err.Error()
		if errors.Is(err, fs.ErrNotExist) {
			why = "there are no guests in " + guests(cfg)
		}
		return nil, "models run no programs: " + why + "; `make build` makes them, and code_execution.guests names another directory"
	}
	wanted := cfg.CodeExecution.Languages
	if len(wanted) == 0 {
		wanted = config.Languages
	}
	var not []string
	for _, l := range wanted {
		if slices.Contains(there, sandbox.Language(l)) {
			languages = append(languages, l)
		} else {
			not = append(not, l)
		}
	}
	if len(not) > 0 {
		missing = fmt.Sprintf("models run no programs in %s: there is no guest for it in %s; `make build` says why", strings.Join(not, " and "), guests(cfg))
	}
	if !slices.Contains(there, sandbox.SQL) {
		missing = strings.TrimPrefix(missing+"; without the guest of sql programs see no tables", "; ")
	}
	return languages, missing
}

// openCode starts code execution, if there is any here. Without it the gateway
// serves everything else.
func (g *Gateway) openCode() {
	cfg := g.cfg.CodeExecution
	languages, missing := CodeExecution(g.cfg)
	if missing != "" && cfg.Offer != toolset.OfferNever {
		g.log.Warn("code execution: " + missing)
	}
	short := ""
	if missing != "" {
		short = missing
	}
	if len(languages) == 0 {
		short = "there are no guests; the gateway's log says where they were looked for"
	} else if box, err := sandbox.New(sandbox.Config{
		Guests: guests(g.cfg), Cache: compiledGuests(g.cfg), Workers: cfg.Workers, Shared: cfg.Shared, Limits: codeLimits(g.cfg), Start: g.startWorker, Log: g.log,
	}); err != nil {
		g.log.Error("code execution: models run no programs", "error", err)
		short = "it cannot be started"
	} else {
		g.code.box.Store(box)
		g.log.Info("code execution", "languages", languages, "guests", guests(g.cfg))
	}
	g.code.missing.Store(&short)
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
		Policy: policy, Nice: workerNice, Socket: socket,
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

// startedCode is what of code execution is read at the start only.
func startedCode(cfg *config.Config) config.CodeExecution {
	e := cfg.CodeExecution
	e.Offer, e.Languages, e.Limits.Table, e.Limits.Tables = "", nil, 0, 0
	return e
}

// toolCode is what a generation's tools have of code execution.
func (g *Gateway) toolCode(cfg *config.Config) toolset.Code {
	e := cfg.CodeExecution
	c := toolset.Code{Sandbox: g.code.box.Load, Offer: e.Offer, Limits: codeLimits(g.cfg), TableBytes: e.Limits.Table, CacheBytes: e.Limits.Tables}
	for _, l := range e.Languages {
		c.Languages = append(c.Languages, sandbox.Language(l))
	}
	return c
}

// codeHealth is what /health says of code execution.
func (g *Gateway) codeHealth() httpapi.CodeHealth {
	h := httpapi.CodeHealth{Languages: []string{}}
	if why := g.code.missing.Load(); why != nil {
		h.Missing = *why
	}
	if box := g.code.box.Load(); box != nil {
		for _, l := range config.Languages {
			if slices.Contains(box.Languages(), sandbox.Language(l)) {
				h.Languages = append(h.Languages, l)
			}
		}
	}
	return h
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

// codeFault is why no worker could be started, the last time that was tried.
func (g *Gateway) codeFault() error {
	if box := g.code.box.Load(); box != nil {
		return box.Stats().Fault
	}
	return nil
}

package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/sallyport-gateway/sallyport/core/backup"
	"github.com/sallyport-gateway/sallyport/core/config"
	"github.com/sallyport-gateway/sallyport/core/ledger"
	"github.com/sallyport-gateway/sallyport/sdk/apierror"
)

// progressEvery is how often a running gateway tells the command how far a
// backup is.
const progressEvery = 200 * time.Millisecond

// Backup makes a backup of the running gateway's data in dir, see
// backup.Create. A second one at the same time is refused.
func (g *Gateway) Backup(ctx context.Context, dir string, progress func(backup.Progress)) (backup.Report, error) {
	if g.tables == nil {
		return backup.Report{}, errNoTables
	}
	if !g.backups.TryLock() {
		return backup.Report{}, errors.New("another backup of this gateway is being made")
	}
	defer g.backups.Unlock()
	s := source(g.cfg, g.version, progress)
	s.Pause = g.tables.Pause
	r, err := backup.Create(ctx, s, dir)
	if err == nil {
		g.log.Info("backup made", "dir", r.Dir, "files", r.Files, "bytes", r.Bytes, "elapsed", r.Elapsed, "commits_held", r.Paused)
	}
	return r, err
}

func source(cfg *config.Config, version string, progress func(backup.Progress)) backup.Source {
	return backup.Source{Dir: cfg.Data.Dir, Log: cfg.Data.Log, Tables: cfg.Data.Tables, State: cfg.Data.State, Program: version, Progress: progress}
}

// sweepBackups removes what a backup left when its process was killed.
func (g *Gateway) sweepBackups() {
	if err := backup.Sweep(g.cfg.Data.Log, g.cfg.Data.Tables); err != nil {
		g.log.Warn("what a backup that was killed has left cannot be removed", "error", err)
	}
}

// Backup makes a backup of the data that cfg names: through the gateway that
// runs over it, or while nobody else can open it.
func Backup(ctx context.Context, cfg *config.Config, version, dir string, progress func(backup.Progress)) (backup.Report, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return backup.Report{}, err
	}
	if running, err := Control(cfg.Data.Dir); err == nil {
		return running.Backup(ctx, dir, progress)
	}
	if _, err := os.Stat(cfg.Data.Dir); errors.Is(err, fs.ErrNotExist) {
		return backup.Report{}, fmt.Errorf("there is no data directory %s: nothing to back up", cfg.Data.Dir)
	}
	if err := CheckData(cfg.Data.Dir); err != nil {
		return backup.Report{}, err
	}
	if _, err := os.Stat(cfg.Data.Log); err == nil {
		lock, err := ledger.Lock(cfg.Data.Log)
		if locked, inUse := errors.AsType[*ledger.LockedError](err); inUse {
			return backup.Report{}, fmt.Errorf("the data directory is in use by %s, which does not answer on its control socket: try again when it has started or ended", locked.Holder)
		}
		if err != nil {
			return backup.Report{}, err
		}
		defer lock.Close()
	}
	return backup.Create(ctx, source(cfg, version, progress), dir)
}

// Restore makes the data directory of cfg from the backup in dir, see
// backup.Restore. No gateway may run over it.
func Restore(ctx context.Context, cfg *config.Config, dir string, progress func(backup.Progress)) (backup.Report, error) {
	return backup.Restore(ctx, dir, backup.Target{Dir: cfg.Data.Dir, Log: cfg.Data.Log, Tables: cfg.Data.Tables, State: cfg.Data.State,
		Check: CheckData, Progress: progress})
}

// backupLine is one line of the answer to POST /backup; the last one has
// Report or Error.
type backupLine struct {
	Progress *backup.Progress `json:"progress,omitempty"`
	Report   *backup.Report   `json:"report,omitempty"`
	Error    string           `json:"error,omitempty"`
}

// serveBackup answers POST /backup {"dir": …}: JSON, a line at a time. It ends
// when who asked goes away.
func (g *Gateway) serveBackup(w http.ResponseWriter, r *http.Request) {
	out := http.NewResponseController(w)
	out.SetReadDeadline(time.Time{}) //nolint:errcheck // else the server ends the request's context after its ReadTimeout
	lines := json.NewEncoder(w)
	var told time.Time
	say := func(l backupLine) {
		lines.Encode(l) // who is gone is noticed by the context
		out.Flush()
		told = time.Now()
	}
	var q struct {
		Dir string `json:"dir"`
	}
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 64<<10)).Decode(&q)
	if err == nil && !filepath.IsAbs(q.Dir) {
		err = fmt.Errorf("directory %q: give an absolute path", q.Dir)
	}
	var report backup.Report
	if err == nil {
		step := ""
		report, err = g.Backup(r.Context(), q.Dir, func(p backup.Progress) {
			if p.Step != step || time.Since(told) >= progressEvery {
				step = p.Step
				say(backupLine{Progress: &p})
			}
		})
	}
	if err != nil {
		say(backupLine{Error: err.Error()})
		return
	}
	say(backupLine{Report: &report})
}

// Backup lets the gateway make a backup in dir, an absolute path that it can
// reach. It is broken off when ctx ends.
func (m *Running) Backup(ctx context.Context, dir string, progress func(backup.Progress)) (backup.Report, error) {
	body, err := json.Marshal(map[string]string{"dir": dir})
	if err != nil {
		return backup.Report{}, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://gateway/backup", strings.NewReader(string(body)))
	if err != nil {
		return backup.Report{}, err
	}
	patient := *m.c
	patient.Timeout = 0
	resp, err := patient.Do(req)
	if err != nil {
		return backup.Report{}, fmt.Errorf("control socket: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		e := new(apierror.Error)
		if err := json.NewDecoder(resp.Body).Decode(e); err != nil {
			return backup.Report{}, fmt.Errorf("control socket: status %d; is the gateway that runs of an older version?", resp.StatusCode)
		}
		return backup.Report{}, e
	}
	for lines := json.NewDecoder(resp.Body); ; {
		var l backupLine
		if err := lines.Decode(&l); err != nil {
			return backup.Report{}, fmt.Errorf("the gateway ended before the backup was finished: %w", errors.Join(context.Cause(ctx), err))
		}
		switch {
		case l.Error != "":
			return backup.Report{}, errors.New(l.Error)
		case l.Report != nil:
			return *l.Report, nil
		case l.Progress != nil && progress != nil:
			progress(*l.Progress)
		}
	}
}

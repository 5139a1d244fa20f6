package gateway_test

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/sallyport-gateway/sallyport/core/backup"
	"github.com/sallyport-gateway/sallyport/core/config"
	"github.com/sallyport-gateway/sallyport/core/gateway"
	"github.com/sallyport-gateway/sallyport/core/gatewaytest"
	"github.com/sallyport-gateway/sallyport/core/sqlapi"
	"github.com/sallyport-gateway/sallyport/core/store"
)

// plainConfig is a gateway with the demo model over the data directory dir.
func plainConfig(t *testing.T, dir string) *config.Config {
	t.Helper()
	cfg, err := config.Parse([]byte(`version: 1
providers: {demo: {translator: demo}}
models: {databricks-demo: {destinations: [{provider: demo, model: demo}]}}
access: {users: [{name: admin, admin: true}]}
data: `+dir+"\n"), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	cfg.Plugins, cfg.Launcher = []string{gatewaytest.Plugins(t)}, gatewaytest.Launcher(t)
	return cfg
}

// shortDir is a directory whose path leaves room for a socket.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "sp")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func askDemo(g *gatewaytest.Gateway, token string) int {
	status, _, _ := g.Post(token, "/ai-gateway/mlflow/v1/responses", `{"model": "databricks-demo", "input": "hello"}`)
	return status
}

// usageRows counts the rows of the usage table, and the different calls in it.
func usageRows(t *testing.T, g *gatewaytest.Gateway, token string) (rows, calls int) {
	t.Helper()
	r, err := g.SQL(t.Context(), sqlapi.Statement{Statement: "SELECT count(*) AS n, count(DISTINCT invocation_id) AS calls FROM system.ai_gateway.usage"})
	if err != nil {
		t.Fatal(err)
	}
	if r.Status.Error != nil {
		t.Fatal(r.Status.Error.Message)
	}
	if _, err := fmt.Sscanf(string(r.Result.Data), `[["%d","%d"]]`, &rows, &calls); err != nil {
		t.Fatalf("%v: %s", err, r.Result.Data)
	}
	return rows, calls
}

// A running gateway makes a backup through its control socket while it serves;
// the data directory restored from it has every row and token.
func TestBackupOfARunningGateway(t *testing.T) {
	t.Parallel()
	parent := shortDir(t)
	cfg := plainConfig(t, filepath.Join(parent, "data"))
	g := gatewaytest.StartConfig(t, cfg)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	if err := g.ServeControl(ctx); err != nil {
		t.Fatal(err)
	}
	token := g.Token("admin")
	const before = 5
	for range before {
		if status := askDemo(g, token); status != 200 {
			t.Fatalf("status %d", status)
		}
	}
	var load sync.WaitGroup
	loadCtx, stopLoad := context.WithCancel(ctx)
	load.Go(func() {
		for loadCtx.Err() == nil {
			if status := askDemo(g, token); status != 200 {
				t.Errorf("status %d while a backup is made", status)
				return
			}
		}
	})
	var steps []string
	dir := filepath.Join(parent, "backup")
	made, err := gateway.Backup(ctx, cfg, "test", dir, func(p backup.Progress) {
		if !slices.Contains(steps, p.Step) {
			steps = append(steps, p.Step)
		}
	})
	stopLoad()
	load.Wait()
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"pause", "copy", "state", "check", "finish"}; !slices.Equal(steps, want) {
		t.Errorf("progress was told of %v, want %v", steps, want)
	}
	if made.Dir != dir || made.Paused <= 0 || made.Program != "test" || len(made.Tables) != 1 {
		t.Errorf("the report is %+v", made)
	}
	if _, err := gateway.Backup(ctx, cfg, "test", dir, nil); err == nil || !strings.Contains(err.Error(), "not empty") {
		t.Errorf("again into the same directory: %v", err)
	}
	gone, cancel := context.WithCancel(ctx)
	broken := filepath.Join(parent, "broken")
	if _, err := gateway.Backup(gone, cfg, "test", broken, func(backup.Progress) { cancel() }); !errors.Is(err, context.Canceled) {
		t.Errorf("a backup that was broken off: %v", err)
	}
	gatewaytest.Eventually(t, waitLong, "what it made to be removed, or to be whole", func() bool {
		_, err := backup.Verify(ctx, broken, nil)
		return err == nil || errors.Is(err, fs.ErrNotExist)
	})
	if _, err := gateway.Restore(ctx, cfg, dir, nil); err == nil || !strings.Contains(err.Error(), "a gateway runs there") {
		t.Errorf("restored over a running gateway: %v", err)
	}
	if _, err := backup.Verify(ctx, dir, nil); err != nil {
		t.Fatal(err)
	}

	again := plainConfig(t, filepath.Join(parent, "restored"))
	if _, err := gateway.Restore(ctx, again, dir, nil); err != nil {
		t.Fatal(err)
	}
	r := gatewaytest.StartConfig(t, again)
	if status := askDemo(r, token); status != 200 {
		t.Errorf("the token of before has status %d", status)
	}
	all, _ := usageRows(t, g, token)
	if rows, calls := usageRows(t, r, token); rows < before+1 || rows != calls || rows > all+1 {
		t.Errorf("the restored table has %d rows of %d calls; %d calls were made before, and %d in all", rows, calls, before, all)
	}
}

// closedData makes a data directory and closes its gateway.
func closedData(t *testing.T) *config.Config {
	t.Helper()
	cfg := plainConfig(t, filepath.Join(t.TempDir(), "data"))
	g, err := gateway.New(t.Context(), cfg, "test", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	return cfg
}

func TestBackupWithoutAGateway(t *testing.T) {
	t.Parallel()
	cfg := closedData(t)
	dir := filepath.Join(t.TempDir(), "backup")
	if _, err := gateway.Backup(t.Context(), cfg, "test", dir, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := backup.Verify(t.Context(), dir, nil); err != nil {
		t.Error(err)
	}
	killed := []string{filepath.Join(cfg.Data.Log, ".backup", "x"), filepath.Join(cfg.Data.Tables, ".backup", "a", "b")}
	for _, name := range killed {
		writeText(t, name, "what a backup that was killed has left")
	}
	g, err := gateway.New(t.Context(), cfg, "test", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range killed {
		if _, err := os.Lstat(name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v, want it gone", name, err)
		}
	}
	// One that runs without a control socket, as when it is just starting.
	if _, err := gateway.Backup(t.Context(), cfg, "test", dir+"2", nil); err == nil || !strings.Contains(err.Error(), "is in use by process") {
		t.Errorf("beside a gateway: %v", err)
	}
	if err := g.Close(); err != nil {
		t.Error(err)
	}
	none := plainConfig(t, filepath.Join(t.TempDir(), "none"))
	if _, err := gateway.Backup(t.Context(), none, "test", dir+"3", nil); err == nil || !strings.Contains(err.Error(), "nothing to back up") {
		t.Errorf("without a data directory: %v", err)
	}
	if _, err := os.Lstat(none.Data.Dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a data directory was made: %v", err)
	}
}

// files has a line for each file below dir, but for those that only say who
// has something open.
func files(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || e.Name() == "lock" || strings.HasSuffix(path, "-shm") || strings.HasSuffix(path, "-wal") {
			return err
		}
		text, err := os.ReadFile(path)
		fmt.Fprintf(&b, "%s %x\n", path, sha256.Sum256(text))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// Whatever part of the data a newer program wrote, or a restore left
// unfinished, the gateway refuses in one line and changes nothing.
func TestNewerDataIsRefused(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		do   func(t *testing.T, cfg *config.Config)
		want string
	}{
		{"layout", func(t *testing.T, cfg *config.Config) { writeText(t, filepath.Join(cfg.Data.Dir, "VERSION"), "2\n") }, "has layout 2 and this program knows up to 1"},
		{"layout that is no number", func(t *testing.T, cfg *config.Config) {
			writeText(t, filepath.Join(cfg.Data.Dir, "VERSION"), "\n")
		}, "holds no number"},
		{"unfinished restore", func(t *testing.T, cfg *config.Config) {
			writeText(t, filepath.Join(cfg.Data.Dir, backup.Unfinished, "marker.json"), "{}")
		}, "a restore did not come to its end"},
		{"state", func(t *testing.T, cfg *config.Config) {
			db, err := store.Open(t.Context(), cfg.Data.State, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			err = db.Update(t.Context(), func(tx *store.Tx) error {
				_, err := tx.Exec(t.Context(), `INSERT INTO schema_version (version_id, is_applied) VALUES (?, ?)`, 99, true)
				return err
			})
			if err := errors.Join(err, db.Close()); err != nil {
				t.Fatal(err)
			}
		}, "its schema has version 99"},
		{"ledger", func(t *testing.T, cfg *config.Config) {
			header := make([]byte, 48)
			copy(header, "SPLEDGER")
			binary.LittleEndian.PutUint32(header[8:], 7)
			writeText(t, filepath.Join(cfg.Data.Log, "00000000000000000001.wal"), string(header))
		}, "has format 7, this program reads up to 1"},
		{"usage table", func(t *testing.T, cfg *config.Config) {
			name := filepath.Join(cfg.Data.Tables, "system", "ai_gateway", "usage", "_delta_log", "00000000000000000000.json")
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			const key = `"sallyport.schemaVersion":"`
			if !strings.Contains(string(text), key) {
				t.Fatalf("no schema version in %s", text)
			}
			writeText(t, name, strings.Replace(string(text), key, key+"9", 1))
		}, "table system.ai_gateway.usage: its schema has version 9"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cfg := closedData(t)
			tt.do(t, cfg)
			before := files(t, cfg.Data.Dir)
			g, err := gateway.New(t.Context(), cfg, "test", slog.New(slog.DiscardHandler))
			if err == nil {
				g.Close()
				t.Fatalf("the gateway starts, want an error with %q", tt.want)
			}
			if !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("error %q, want one line with %q", err, tt.want)
			}
			if after := files(t, cfg.Data.Dir); after != before {
				t.Errorf("the data changed:\n%s\nwas\n%s", after, before)
			}
		})
	}
}

// A data directory from before its layout was noted is of version 1.
func TestTheLayoutIsNoted(t *testing.T) {
	t.Parallel()
	cfg := closedData(t)
	name := filepath.Join(cfg.Data.Dir, "VERSION")
	for range 2 {
		text, err := os.ReadFile(name)
		if err != nil || string(text) != "1\n" {
			t.Errorf("VERSION is %q, %v, want 1", text, err)
		}
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
		g, err := gateway.New(t.Context(), cfg, "test", slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		if err := g.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func writeText(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

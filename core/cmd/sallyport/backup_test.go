package main

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sallyport-gateway/sallyport/core/config"
	"github.com/sallyport-gateway/sallyport/core/gateway"
	"github.com/sallyport-gateway/sallyport/core/gatewaytest"
)

func TestBackupCommands(t *testing.T) {
	t.Parallel()
	file := configFile(t, "data: d\n")
	cfg, err := config.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Launcher = gatewaytest.Launcher(t)
	g, err := gateway.New(t.Context(), cfg, "test", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "backup")
	steps := []struct {
		args []string
		do   func() error
		code int
		want string
	}{
		{args: []string{"backup", "verify", dir}, code: 1, want: "no such file or directory"},
		{args: []string{"backup", "create", dir, "-c", file}, want: "is complete: 4 files"},
		{args: []string{"backup", "create", dir, "-c", file}, code: 1, want: "choose a new directory for each backup"},
		{args: []string{"backup", "verify", dir}, want: "table   system.ai_gateway.usage, version 0"},
		{args: []string{"backup", "restore", dir, "-c", file}, code: 1, want: "the data directory is not empty"},
		{args: []string{"backup", "restore", dir, "-c", file}, do: func() error { return os.Rename(cfg.Data.Dir, cfg.Data.Dir+".old") }, want: "is restored from " + dir},
		{args: []string{"token", "list", "-c", file}, want: "PRINCIPAL"},
		{args: []string{"token", "list", "-c", file}, do: func() error {
			return os.WriteFile(filepath.Join(cfg.Data.Dir, "VERSION"), []byte("9\n"), 0o600)
		}, code: 1, want: "has layout 9"},
		{args: []string{"backup", "create", dir + "2", "-c", file}, code: 1, want: "has layout 9"},
		{args: []string{"backup", "verify", dir}, do: func() error { return os.Remove(filepath.Join(dir, "manifest.json")) }, code: 1, want: "was not finished"},
		{args: []string{"backup", "verify"}, code: 2, want: "which directory?"},
		{args: []string{"backup", "restore", "a", "b"}, code: 2, want: "one backup at a time"},
	}
	for _, s := range steps {
		if s.do != nil {
			if err := s.do(); err != nil {
				t.Fatal(err)
			}
		}
		code, out, errs := command(t, s.args...)
		if code != s.code || !strings.Contains(out+errs, s.want) {
			t.Errorf("%s: code %d, output %q, want code %d and %q", strings.Join(s.args, " "), code, out+errs, s.code, s.want)
		}
	}
}

func TestSize(t *testing.T) {
	t.Parallel()
	for n, want := range map[int64]string{0: "0 B", 999: "999 B", 1000: "1 kB", 14_830: "14.8 kB", 999_600: "1 MB", 1_230_000_000: "1.23 GB"} {
		if got := size(n); got != want {
			t.Errorf("size(%d) = %q, want %q", n, got, want)
		}
	}
}

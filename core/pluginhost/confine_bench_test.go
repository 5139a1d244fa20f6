package pluginhost

import (
	"log/slog"
	"os/exec"
	"path/filepath"
	"testing"
)

// bareLauncher builds a launcher that confines nothing.
func bareLauncher(b *testing.B) string {
	b.Helper()
	path := filepath.Join(b.TempDir(), launcherName)
	if err := build(path, "./testdata/bare"); err != nil {
		b.Fatal(err)
	}
	return path
}

// hostWith starts a host with another launcher than the usual one.
func hostWith(b *testing.B, launcher string) *Host {
	b.Helper()
	h, err := New(Config{Dirs: []string{plugins(b, "provider-echo")}, Launcher: launcher}, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { h.Close(b.Context()) })
	return h
}

// BenchmarkLauncher is a program's start and end, as it is and through the
// launcher: at most 10 ms are to lie between them.
func BenchmarkLauncher(b *testing.B) {
	run := func(b *testing.B, make func(dir string) (*exec.Cmd, error)) {
		s := newStarter()
		defer s.close()
		dir := b.TempDir()
		for b.Loop() {
			cmd, err := make(dir)
			if err != nil {
				b.Fatal(err)
			}
			if err := s.run(cmd); err != nil {
				b.Fatal(err)
			}
			if err := cmd.Wait(); err != nil {
				b.Fatal(err)
			}
		}
	}
	program := filepath.Join(plugins(b, "provider-echo"), "provider-echo")
	b.Run("plain", func(b *testing.B) {
		run(b, func(string) (*exec.Cmd, error) { return exec.Command(program, "describe"), nil })
	})
	b.Run("confined", func(b *testing.B) {
		run(b, func(dir string) (*exec.Cmd, error) {
			return ConfinedCommand(launcher, Launch{Path: program, Args: []string{"describe"}, Dir: dir}, false)
		})
	})
}

// BenchmarkFirstCall is the time from the start of a plugin to the end of its
// first call.
func BenchmarkFirstCall(b *testing.B) {
	for name, l := range map[string]string{"unconfined": bareLauncher(b), "confined": launcher} {
		b.Run(name, func(b *testing.B) {
			h := hostWith(b, l)
			tr := translator(b, h, "echo")
			for b.Loop() {
				if got, err := ask(b.Context(), tr, "m", "hello"); got != "hello" || err != nil {
					b.Fatalf("%q, %v", got, err)
				}
				b.StopTimer()
				s, _, _ := h.find("provider", "echo")
				s.mu.Lock()
				p := s.cur
				s.cur = nil // as if it had never been started
				s.mu.Unlock()
				p.stop(b.Context())
				b.StartTimer()
			}
		})
	}
}

// BenchmarkConfinedCall is an exchange with a plugin that runs, confined and
// not.
func BenchmarkConfinedCall(b *testing.B) {
	for name, l := range map[string]string{"unconfined": bareLauncher(b), "confined": launcher} {
		b.Run(name, func(b *testing.B) {
			h := hostWith(b, l)
			tr := translator(b, h, "echo")
			if _, err := ask(b.Context(), tr, "m", "hello"); err != nil {
				b.Fatal(err)
			}
			pid := info(b, h, "echo").PID
			before := cpu(b, pid)
			for b.Loop() {
				if got, err := ask(b.Context(), tr, "m", "hello"); got != "hello" || err != nil {
					b.Fatalf("%q, %v", got, err)
				}
			}
			b.ReportMetric(float64((cpu(b, pid)-before).Nanoseconds())/1e3/float64(b.N), "cpu-µs/op")
		})
	}
}

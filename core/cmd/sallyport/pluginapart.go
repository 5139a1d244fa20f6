//go:build unix

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/sallyport-gateway/sallyport/core/config"
)

// apart refuses a plugin's directory with anything in it that the gateway of cfg
// keeps: all files of the directory become the plugin's, which reads them. Also
// what is not there yet is refused, for it would be there the next time. to is
// the plugins directory that was named, "" for none.
func apart(path, to string, cfg *config.Config) error {
	dir, err := resolved(path)
	if err != nil {
		return err
	}
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return err
	}
	if to != "" {
		if real, err := resolved(to); err != nil {
			return err
		} else if within(dir, real) {
			return fmt.Errorf("the plugins directory %s lies in the plugin's own, %s, and would be copied with it; name another one with --to", real, dir)
		}
	}
	if cfg.Data.Dir == "" {
		return nil
	}
	kept := []struct{ what, path string }{
		{"data directory", cfg.Data.Dir}, {"plugins directory", cfg.OwnPlugins()}, {"log", cfg.Data.Log}, {"directory of tables", cfg.Data.Tables},
	}
	if file, ok := strings.CutPrefix(cfg.Data.State, "sqlite:"); ok {
		kept = append(kept, struct{ what, path string }{"database", file})
	}
	for _, k := range kept {
		if k.path == "" {
			continue
		}
		real, err := resolved(k.path)
		if err != nil {
			return err
		}
		if !within(dir, real) {
			continue
		}
		remedy := fmt.Sprintf("move %s to another directory, such as the one above, or have its `data` name one", cfg.File())
		if cfg.File() == "" {
			remedy = "name a configuration in another directory, such as the one above, with --config"
		}
		return fmt.Errorf("the gateway's %s %s lies in the plugin's directory %s: the plugin could read all of it, the administrator's token too; %s", k.what, real, dir, remedy)
	}
	return nil
}

// within reports whether path is dir or lies below it. Both are resolved.
func within(dir, path string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator))
}

// resolved is path without symbolic links, as far as it exists.
func resolved(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	rest := ""
	for at := path; ; at = filepath.Dir(at) {
		if real, err := filepath.EvalSymlinks(at); err == nil {
			return filepath.Join(real, rest), nil
		}
		if at == filepath.Dir(at) {
			return path, nil
		}
		rest = filepath.Join(filepath.Base(at), rest)
	}
}

//go:build unix

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/sallyport-gateway/sallyport/core/pluginhost"
)

// developed reads the values of --dev: NAME or NAME=DIR.
func developed(values []string) ([]pluginhost.Dev, error) {
	var devs []pluginhost.Dev
	for _, v := range values {
		name, dir, ok := strings.Cut(v, "=")
		if name == "" || ok && dir == "" {
			return nil, fmt.Errorf("--dev %s: write NAME or NAME=DIR", v)
		}
		for _, d := range devs {
			if d.Name == name {
				return nil, fmt.Errorf("--dev %s: the plugin %q is named twice", v, name)
			}
		}
		if !ok {
			dir = sourceOf(name)
		}
		if _, err := os.Stat(dir); err != nil {
			return nil, fmt.Errorf("--dev %s: %w", v, err)
		}
		devs = append(devs, pluginhost.Dev{Name: name, Dir: dir})
	}
	return devs, nil
}

// sourceOf is the directory in which a plugin is developed, by the names that
// are usual for it; the current one if there is none of them.
func sourceOf(name string) string {
	for _, dir := range []string{name, "tool-" + name, "provider-" + name} {
		files, err := filepath.Glob(filepath.Join(dir, "*"))
		if err == nil && len(files) > 0 {
			return dir
		}
	}
	return "."
}

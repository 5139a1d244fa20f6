package client

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// Place is where a user's files are.
type Place struct {
	Home    string              // the home directory
	Dir     string              // the directory of the project
	OS      string              // as runtime.GOOS has it
	Getenv  func(string) string // never nil
	Program string              // the sallyport program, as clients can start it
}

// Here is the place of whoever runs this process.
func Here() (Place, error) {
	home, err := os.UserHomeDir()
	if err != nil {
		return Place{}, err
	}
	dir, err := os.Getwd()
	if err != nil {
		return Place{}, err
	}
	program, err := os.Executable()
	if err != nil {
		return Place{}, err
	}
	if !filepath.IsAbs(home) {
		return Place{}, errors.New("the home directory is no absolute path")
	}
	return Place{Home: home, Dir: dir, OS: runtime.GOOS, Getenv: os.Getenv, Program: program}, nil
}

// dir is the directory that the variable names, or one below the home.
func (p Place) dir(variable string, below ...string) string {
	if variable != "" {
		if d := p.Getenv(variable); filepath.IsAbs(d) {
			return d
		}
	}
	return filepath.Join(append([]string{p.Home}, below...)...)
}

// state is where it is kept what was written, so that it can be taken back.
func (p Place) state() string {
	switch p.OS {
	case "windows":
		return filepath.Join(p.dir("LOCALAPPDATA", "AppData", "Local"), "sallyport", "setup")
	case "darwin":
		if p.Getenv("XDG_STATE_HOME") == "" {
			return filepath.Join(p.Home, "Library", "Application Support", "sallyport", "setup")
		}
	}
	return filepath.Join(p.dir("XDG_STATE_HOME", ".local", "state"), "sallyport", "setup")
}

// quote is a word as the shell that clients start helpers with takes it.
func (p Place) quote(word string) string {
	if word != "" && strings.IndexFunc(word, func(r rune) bool {
		return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:@%+=,", r)
	}) < 0 {
		return word
	}
	if p.OS == "windows" {
		return `"` + strings.ReplaceAll(word, `"`, "") + `"` // no file's name has one
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// exists tells whether there is a file.
func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

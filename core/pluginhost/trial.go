package pluginhost

import (
	"os"
	"os/exec"
	"slices"

	"github.com/sallyport-gateway/sallyport/sdk/boot"
)

// Trial runs a Candidate that nobody added, confined as it would be after that:
// for the commands with which authors test their plugin. Close it when the
// processes have ended.
type Trial struct {
	// Requires is what the manifest asks for, once it is known.
	Requires boot.Requires
	// Kind and Name of the plugin, once they are known.
	Kind, Name string

	cfg   Config
	run   *runDir
	image *image
	load  *loaded
}

// Try makes a Trial of the candidate.
func (c *Candidate) Try(cfg Config) (*Trial, error) {
	run, err := newRunDir(cfg.RunDir)
	if err != nil {
		return nil, err
	}
	t := &Trial{cfg: cfg, run: run, image: &image{run: run, root: c.Root, entry: c.Entry}}
	t.image.entry.Read = slices.Clone(c.Entry.Read)
	if t.load, err = t.image.open(); err != nil {
		_ = run.close() // the first error is the one that counts
		return nil, c.about(err)
	}
	return t, nil
}

// Command builds a command that runs the plugin with args in the private
// directory dir.
func (t *Trial) Command(dir string, args ...string) (*exec.Cmd, error) {
	l := t.load.launch(Launch{Kind: t.Kind, Name: t.Name, Args: args, Requires: t.Requires, Dir: dir})
	return ConfinedCommand(t.cfg.Launcher, l, t.cfg.Unconfined)
}

// Dir makes a private directory for one process.
func (t *Trial) Dir() (string, error) { return t.run.process() }

// Read lets the plugin read path too.
func (t *Trial) Read(path string) { t.image.entry.Read = append(t.image.entry.Read, path) }

// Close removes the private copy of the plugin.
func (t *Trial) Close() error {
	t.load.close()
	t.image.drop()
	err := t.run.close()
	if os.IsNotExist(err) {
		return nil
	}
	return err
}

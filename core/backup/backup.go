// Package backup copies the data of a gateway, running or not, into a
// directory, checks such a copy, and makes a data directory of it again. It
// keeps one rule: what was acknowledged before Create began is in the copy
// exactly once, and a directory is a backup only when all of it is there.
//
// # What is in a backup
//
//	manifest.json   every file with size and SHA-256; written last
//	log/            the ledger: records that no table has taken yet, open calls, rows set aside
//	tables/         each table that the gateway writes, at one version
//	state.db        the state database, when it is SQLite; of tokens it has hashes alone
//	VERSION         the layout of the data directory
//
// Not in it: the configuration file, secrets (they are in files and the
// environment that the configuration names), the administrator's first token,
// plugins, sample tables, and tables of the catalog that others write. A state
// database in Postgres is not copied either; pg_dump does that. Payload tables
// hold what users and models said, so a backup is as confidential as the data
// directory; its directories have mode 0700.
//
// # How a backup is consistent
//
// The ledger holds a record until its table has committed it, and a table's
// commit says up to which record it has taken them. So the copy of the ledger
// and the versions of the tables have to be of the same moment: [Create]
// pauses commits and trimming, and makes hard links to all that it will copy,
// which takes milliseconds; requests and appends to the ledger go on. Then
// it copies at leisure: what a vacuum deletes meanwhile is still there under
// the other name.
package backup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// format is the newest version of manifest.json that this program reads, and
// the one it writes.
const format = 1

const (
	manifestName = "manifest.json"
	logPart      = "log"
	tablesPart   = "tables"
	stateFile    = "state.db"
	layoutFile   = "VERSION"

	pinName = ".backup" // below the directories of the ledger and the tables, while a backup is made
)

// Source is the data of a gateway.
type Source struct {
	Dir    string // the data directory; only its VERSION is read there
	Log    string // of the ledger
	Tables string // below which the tables are
	State  string // sqlite:FILE or postgres://…

	// Pause holds commits, trimming and housekeeping until resume is called.
	// nil means that nobody writes: no gateway runs, and the caller has the
	// ledger locked.
	Pause func(context.Context) (resume func(), err error)

	Program  string         // version of the program, for the manifest
	Progress func(Progress) // called often, from one goroutine; nil for nobody
}

// Target is where Restore puts a backup.
type Target struct {
	Dir    string // the data directory: missing, or empty
	Log    string // these three may be elsewhere, and are missing or empty too
	Tables string
	State  string // sqlite:FILE or postgres://…

	// Check looks at a data directory before it becomes the one in Dir, and
	// refuses a layout that this program does not know. nil accepts all.
	Check    func(dir string) error
	Progress func(Progress)
}

// Progress is how far a backup or its restoring is.
type Progress struct {
	Step  string `json:"step"`           // pause, copy, state, check, finish
	Name  string `json:"name,omitempty"` // of the file
	Files int    `json:"files"`          // done
	Of    int    `json:"of"`             // files
	Bytes int64  `json:"bytes"`          // done
	Total int64  `json:"total"`          // bytes
}

// Report says what is in a backup.
type Report struct {
	Dir     string        `json:"dir"`
	Created time.Time     `json:"created"`
	Program string        `json:"program"` // that made it
	Files   int           `json:"files"`
	Bytes   int64         `json:"bytes"`
	State   State         `json:"state"`
	Tables  []Table       `json:"tables"`
	Log     Log           `json:"log"`
	Paused  time.Duration `json:"paused,omitempty"` // how long commits to tables were held
	Elapsed time.Duration `json:"elapsed"`
}

// State says what became of the state database.
type State struct {
	Engine string `json:"engine"`           // sqlite, postgres; none when there was no database yet
	Schema int64  `json:"schema,omitempty"` // version, of sqlite
	Hint   string `json:"hint,omitempty"`   // what else to do
}

// Table is a table at the version that was copied.
type Table struct {
	Name    string `json:"name"` // its directory below that of the tables
	Version int64  `json:"version"`
	Files   int    `json:"files"`
	Bytes   int64  `json:"bytes"`
}

// Log is what the copy of the ledger holds.
type Log struct {
	Files   int   `json:"files"`
	Bytes   int64 `json:"bytes"`
	Records int   `json:"records"`        // that can be read
	Open    int   `json:"open"`           // calls that were under way; they become interrupted when the restored gateway starts
	Torn    int64 `json:"torn,omitempty"` // bytes at the end of a record that was just being written; opening cuts them
}

// manifest is manifest.json.
type manifest struct {
	Format  int       `json:"format"`
	Created time.Time `json:"created"`
	Program string    `json:"program"`
	State   State     `json:"state"`
	Tables  []Table   `json:"tables"`
	Log     Log       `json:"log"`
	NotHere []string  `json:"not_in_here"`
	Files   []file    `json:"files"`
}

// file is a file of a backup; its path is slash-separated.
type file struct {
	Path     string    `json:"path"`
	Size     int64     `json:"size"`
	SHA256   string    `json:"sha256"`
	Modified time.Time `json:"modified"` // vacuum and the cleaning of logs go by it
}

var notHere = []string{"the configuration file", "secrets: environment variables and files that the configuration names",
	"the administrator's first token (admin-token)", "plugins", "sample tables and other tables of the catalog that the gateway does not write"}

// ErrUnfinished says that a directory has no manifest: a backup that did not
// come to its end, or none at all.
var ErrUnfinished = errors.New("no manifest.json: this backup was not finished, or it is none; make another one")

// NewerError is a backup that a newer program made.
type NewerError struct{ Have, Known int }

func (e *NewerError) Error() string {
	return fmt.Sprintf("the backup has format %d and this program reads up to %d: use the program that made it, or a newer one; nothing was changed", e.Have, e.Known)
}

// readManifest reads and checks the manifest of the backup in dir.
func readManifest(dir string) (*manifest, error) {
	info, err := os.Stat(dir)
	if err == nil && !info.IsDir() {
		err = errors.New("not a directory")
	}
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(filepath.Join(dir, manifestName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrUnfinished
	}
	if err != nil {
		return nil, err
	}
	var v struct {
		Format int `json:"format"`
	}
	if err := json.Unmarshal(text, &v); err != nil || v.Format < 1 {
		return nil, fmt.Errorf("%s cannot be read (%v): the backup is damaged", manifestName, err)
	}
	if v.Format > format {
		return nil, &NewerError{v.Format, format}
	}
	m := new(manifest)
	if err := json.Unmarshal(text, m); err != nil {
		return nil, fmt.Errorf("%s cannot be read (%v): the backup is damaged", manifestName, err)
	}
	seen := map[string]bool{}
	for _, f := range m.Files {
		part, _, _ := strings.Cut(f.Path, "/")
		local := fs.ValidPath(f.Path) && filepath.IsLocal(filepath.FromSlash(f.Path))
		if !local || seen[f.Path] || f.Size < 0 || (part == f.Path) != (part == stateFile || part == layoutFile) ||
			part != f.Path && part != logPart && part != tablesPart {
			return nil, fmt.Errorf("%s names the file %q, which no backup has: it is damaged", manifestName, f.Path)
		}
		seen[f.Path] = true
	}
	return m, nil
}

func (m *manifest) report(dir string) Report {
	r := Report{Dir: dir, Created: m.Created, Program: m.Program, Files: len(m.Files), State: m.State, Tables: m.Tables, Log: m.Log}
	for _, f := range m.Files {
		r.Bytes += f.Size
	}
	return r
}

// meter tells Progress.
type meter struct {
	Progress
	to func(Progress)
}

func (m *meter) say() {
	if m.to != nil {
		m.to(m.Progress)
	}
}

func (m *meter) step(name string) {
	m.Step, m.Name = name, ""
	m.say()
}

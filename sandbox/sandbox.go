// Package sandbox runs Python, SQL and shell programs that a model wrote. They
// run in WebAssembly without any import that could open a socket or a file of
// the host, inside worker processes of their own. The one rule: nothing that a
// program does, a worker that it has taken over included, reaches another
// principal's session, the host, or the process that uses this package.
//
// A Sandbox keeps the workers, a Session is the state of one conversation's
// programs: variables, files, tables. A program sees the tables of its session
// and nothing else.
package sandbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"time"
)

// A Language is one that a Program may be written in.
type Language string

const (
	Python Language = "python"
	SQL    Language = "sql"
	Shell  Language = "shell"
)

var (
	// ErrNoGuests says that Config.Guests has no guest that could be run, or none
	// for a Program's language. The text names what is missing or broken.
	ErrNoGuests = errors.New("code execution is not available")
	// ErrBusy says that the program was not run since too many others wait, or
	// since its turn did not come within Limits.Wait. It may be tried again.
	ErrBusy = errors.New("code execution is busy: too many programs are waiting; try again later")
	// ErrShare is the ErrBusy of a principal who has a program wait for each
	// place that one may have, while there is room for others.
	ErrShare = fmt.Errorf("%w: this user has all the places that one may have", ErrBusy)
	// ErrPreparing is the ErrBusy of a program for which no worker was ready in
	// time: the guests are being compiled, or the machine is slow to start one.
	ErrPreparing = fmt.Errorf("%w: no process that runs them is ready yet", ErrBusy)
	// ErrWorker says that no worker process could be started. The text says why.
	ErrWorker = errors.New("code execution cannot start a worker process")
	// ErrClosed says that the Session or the Sandbox was closed.
	ErrClosed = errors.New("code execution: the session is closed")
)

// Config says where a Sandbox finds its guests and how it runs them.
type Config struct {
	Guests  string // directory with manifest.json, as `make build` leaves it
	Cache   string // directory of compiled guests that nobody else may write to, made 0700 if missing; "" compiles at each start of a worker
	Workers int    // worker processes at work at once; 0 is one a core. Up to 8 times as many are alive when many principals have sessions.
	Shared  bool   // sessions of two principals may be in one worker at once
	Limits  Limits

	// Start starts a worker: this program again, with arguments of its own that
	// make it call worker.Main. file is the worker's end of a socket and must be
	// its descriptor 3; it stays the caller's to close. Start returns the command
	// started and not waited for. It takes everything from the process that it
	// does not need: a worker opens Guests and Cache while it loads, and
	// after that nothing. ctx ends with the Sandbox.
	Start func(ctx context.Context, file *os.File) (*exec.Cmd, error)
	Log   *slog.Logger // nil is slog.Default()
}

// Limits bound what a program may use. Zero values are the defaults.
type Limits struct {
	Memory  int64 // bytes of a guest's memory; 0 is 256 MiB
	Scratch int64 // bytes in files of a session; 0 is 64 MiB
	Inodes  int   // files and directories of a session; 0 is 1000
	Output  int   // bytes of each of stdout and stderr, and of the rows of SQL; 0 is 256 KiB

	Wall  time.Duration // of one program; 0 is 30 s. Then it gets KeyboardInterrupt, or is killed where there is none
	CPU   time.Duration // of one program, roughly; 0 is 10 s
	Grace time.Duration // from the interrupt to the kill, and from the kill to that of the worker; 0 is 1 s
	Wait  time.Duration // for a program's turn, and for a worker to be started; 0 is 30 s. Then it is not run. It does not count as Wall
	Idle  time.Duration // after which a session that runs nothing loses its state; 0 is 15 min

	Sessions int   // with state at once; 0 is 1000. The one idle for longest loses its state
	Queue    int   // programs that wait for their turn; 0 is 64. A principal has at most half of it
	Worker   int64 // bytes of private memory of a worker, from which on it takes no more sessions; 0 is 2 GiB. At twice that it is killed.
}

// A Program is what a Session runs.
type Program struct {
	Language Language
	Code     string
	Wall     time.Duration // 0, or longer than Limits.Wall, is Limits.Wall
	Tables   []string      // full names of those of the session that it sees; nil is all
}

// Result is what a Program did.
type Result struct {
	Stdout, Stderr string

	Columns []string // of SQL
	Rows    [][]any  // of SQL: nil, json.Number, string

	Exit int // 0 fine, 1 exception or error, 2 the program called exit, 137 killed; of the shell its own

	// Killed says why the program was ended: "time", "cpu", "memory", "crash" of
	// its interpreter, "exit" past its interpreter, or "worker", whose process
	// ended. The variables of its language are gone; after "worker", and after
	// a "time" or "memory" that took the whole worker, everything is.
	Killed string
	// Interrupted says why the program was stopped with its state kept: "time",
	// "cpu".
	Interrupted string
	// Lost says why the state of earlier programs was gone before this one
	// began, and that was not said before: "idle", "memory", "worker".
	Lost string

	Truncated bool   // of output or rows a part is missing
	Files     []File // in tmp that this program wrote

	Duration, CPU time.Duration
}

// File is one that a Program wrote.
type File struct {
	Name string // below tmp, such as "out/plot.csv"
	Size int64
}

// Table is a table as programs see it. Sessions use its files until they are
// closed; whoever had it made closes it then.
type Table struct {
	Name     string // of three parts: main.sales.reviews
	Version  string // for people and caches
	Columns  []Column
	Rows     int64
	Cut      bool     // there are more rows
	Database *os.File // SQLite, with the rows in a table called t; a sealed memory file where the system has them
	CSV      *os.File // with a line of names; the same
}

// Close closes the files of t.
func (t Table) Close() error {
	var errs []error
	for _, f := range []*os.File{t.Database, t.CSV} {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(errs...)
}

// Column is a column of a Table.
type Column struct {
	Name string
	Type string // as in SQL: BIGINT, DECIMAL(10,2), TIMESTAMP, ARRAY<STRING>
}

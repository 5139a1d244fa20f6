package usage

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/semaphore"

	"github.com/sallyport-gateway/sallyport/core/ledger"
	"github.com/sallyport-gateway/sallyport/core/tables"
	"github.com/sallyport-gateway/sallyport/sdk/apierror"
)

// Config is what a Recorder needs beside its tables.
type Config struct {
	// Usage is the table of the usage rows; "" means UsageTable.
	Usage string
	// StatusOf gives the HTTP status that a client is answered with for an
	// error; nil leaves status_code of failed calls null.
	StatusOf func(apierror.Code) int
	// SpillDir is a directory of the Recorder's own, made if need be, where long
	// replies lie until their call ends, when they are kept for a payload table;
	// "" means the system's directory for such files.
	SpillDir string
	// AccountID and WorkspaceID are in every row; "" means null.
	AccountID, WorkspaceID string
	// Log hears of rows that could not be written; nil means slog.Default.
	Log *slog.Logger
}

// Recorder writes the rows. A nil one records nothing: its methods return at
// once, and Begin a nil Call. Its methods may be called side by side.
type Recorder struct {
	cfg    Config
	ledger *ledger.Log
	log    *slog.Logger

	buffers sync.Pool // *[]byte that begin with the header of the usage table
	header  int       // its length
	loaded  *semaphore.Weighted
	// loadWait is how long the end of a call waits for room in loaded.
	loadWait time.Duration
	hurry    context.Context // ended: what would have to wait for space fails

	late late
}

// loadedAtOnce bounds the bytes of payload records that are in memory at one
// time, those of short calls excepted. The ledger copies each while it writes.
const loadedAtOnce = 64 << 20

// New makes a Recorder that writes through t, and gives each call that an
// earlier process left open the row of an interrupted one. Close it before t.
func New(ctx context.Context, t *tables.Set, c Config) (*Recorder, error) {
	return newRecorder(ctx, t.Log(), c)
}

func newRecorder(ctx context.Context, l *ledger.Log, c Config) (*Recorder, error) {
	if c.Usage == "" {
		c.Usage = UsageTable
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.SpillDir == "" {
		c.SpillDir = os.TempDir()
	} else if err := sweep(c.SpillDir); err != nil { // payloads say what they lack
		c.Log.Error("long replies cannot be kept for payload tables", "error", err)
	}
	r := &Recorder{cfg: c, ledger: l, log: c.Log, loaded: semaphore.NewWeighted(loadedAtOnce), loadWait: 2 * time.Second}
	header := tables.Header(nil, c.Usage)
	r.header = len(header)
	r.buffers.New = func() any {
		b := append(make([]byte, 0, 2048), header...)
		return &b
	}
	hurry, cancel := context.WithCancelCause(context.Background())
	cancel(errNoWait)
	r.hurry = hurry
	r.start()
	if err := r.settleOpen(ctx); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

var errNoWait = errors.New("a call that ends does not wait for space")

// sweep makes dir, and removes what a process left there that was killed before
// a file had lost its name.
func sweep(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	files, err := os.ReadDir(dir)
	for _, f := range files {
		if strings.HasPrefix(f.Name(), spillPrefix) {
			err = errors.Join(err, os.Remove(filepath.Join(dir, f.Name())))
		}
	}
	return err
}

// settleOpen settles what an earlier process has begun. What Begin wrote is the
// row of the interrupted call, so it only has to be said again.
func (r *Recorder) settleOpen(ctx context.Context) error {
	n := 0
	for rec, err := range r.ledger.Unsettled() {
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		n++
		r.settle(&lateCall{id: rec.ID, row: rec.Payload})
	}
	if n > 0 {
		r.log.Warn("calls that the gateway did not see the end of are recorded as interrupted", "calls", n)
	}
	return nil
}

// Begin records that a call is about to be made, and returns it: End it. After
// an error, an apierror.Unavailable that says why, the call must not be made.
// Begin waits for a full ledger as long as that does, or ctx.
func (r *Recorder) Begin(ctx context.Context, s Start) (*Call, error) {
	if r == nil {
		return nil, nil
	}
	id, err := newID()
	if err != nil {
		return nil, err
	}
	c := &Call{r: r, statusOf: r.cfg.statusOf(s.Source)}
	c.draft.begin(&s, &r.cfg, id)
	b := r.encode(&c.draft.row)
	_, err = r.ledger.Start(ctx, id, *b)
	r.free(b)
	if err != nil {
		return nil, refusal(err)
	}
	if s.PayloadTable != "" {
		c.payload = newPayload(s.PayloadMax, r.cfg.SpillDir)
		c.table = s.PayloadTable
	}
	return c, nil
}

// Refuse records a call that is not made: for a limit, a budget, a policy.
// o.Status is Refused unless it says otherwise. It does not wait for space in
// the ledger, and goes on when the context has ended: the client may be gone.
func (r *Recorder) Refuse(_ context.Context, s Start, o Outcome) error {
	if r == nil {
		return nil
	}
	id, err := newID()
	if err != nil {
		return err
	}
	var x draft
	x.refuse(&s, &o, &r.cfg, id)
	b := r.encode(&x.row)
	defer r.free(b)
	_, err = r.ledger.Append(r.hurry, r.cfg.Usage, *b)
	if err != nil {
		return refusal(err)
	}
	return nil
}

// newID is a UUID of version 7: rows of one time lie together.
func newID() (string, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return "", apierror.Wrap(apierror.Internal, err, "The gateway has no randomness for the id of a call.")
	}
	return id.String(), nil
}

// encode is the payload of the row's record, in a buffer to be freed.
func (r *Recorder) encode(x *row) *[]byte {
	b := r.buffers.Get().(*[]byte)
	*b = x.appendTo((*b)[:r.header])
	return b
}

func (r *Recorder) free(b *[]byte) {
	if cap(*b) <= 64<<10 {
		r.buffers.Put(b)
	}
}

// Call is a call that has begun. A nil one does nothing.
type Call struct {
	r        *Recorder
	draft    draft
	statusOf func(apierror.Code) int
	payload  *Payload
	table    string // of the payload
	ended    atomic.Bool
}

// ID is the call's, which is invocation_id in its row; "" for a nil Call.
func (c *Call) ID() string {
	if c == nil {
		return ""
	}
	return c.draft.InvocationID
}

// Payload takes the request and the reply of the call; nil, which takes them
// too and keeps nothing, when its Start named no table for them.
func (c *Call) Payload() *Payload {
	if c == nil {
		return nil
	}
	return c.payload
}

// End records how the call ended, once; later calls do nothing. Call it before
// the last byte of the reply is given on. It needs no context: a client that
// left does not keep a row from being written. It does not fail: a row that the
// ledger does not take now is written by and by, and Health says so meanwhile.
func (c *Call) End(o Outcome) {
	if c == nil || c.ended.Swap(true) {
		return
	}
	c.draft.end(&o, c.statusOf)
	x := lateCall{id: c.draft.InvocationID}
	if c.payload != nil {
		x.table = c.table
		x.payload, x.held = c.r.payloadRecord(c.table, c.payload, &c.draft.row)
		c.payload.close()
	}
	b := c.r.encode(&c.draft.row)
	x.row = *b
	if c.r.settle(&x) {
		c.r.free(b)
	}
}

// payloadRecord builds the record of a payload row. held is what it holds of
// loadedAtOnce.
func (r *Recorder) payloadRecord(table string, p *Payload, x *row) (rec []byte, held int64) {
	n, large := p.size()
	if large && !r.loaded.TryAcquire(n) {
		ctx, cancel := context.WithTimeout(context.Background(), r.loadWait)
		err := r.loaded.Acquire(ctx, n)
		cancel()
		if err != nil {
			return p.record(tables.Header(nil, table), x, false), 0
		}
	}
	if large {
		held = n
	}
	return p.record(tables.Header(nil, table), x, true), held
}

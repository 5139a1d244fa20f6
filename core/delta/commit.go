package delta

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path"
	"time"

	"github.com/google/uuid"
)

// Txn makes a commit repeatable: one with a version that is not above the last
// of the same application changes nothing. Only one writer may use an AppID at
// a time, with rising versions: the position in its log that the rows go up to.
// Source: Delta protocol, "Transaction Identifiers".
type Txn struct {
	AppID   string // "" for a commit that is not repeatable
	Version int64
}

// Commit is what a commit has done.
type Commit struct {
	Version  int64 // of the table, with the commit in it
	Files    int   // added
	Removed  int   // files taken out
	Rows     int64 // added
	Bytes    int64 // added
	Replayed bool  // the Txn was committed before; nothing was added
	// Upkeep is why the checkpoint that was due, or the cleaning of the log,
	// failed. The commit itself stands; the next one tries again.
	Upkeep error
}

// plan is a commit to be made.
type plan struct {
	form      *form // what the added files were made for
	operation string
	params    map[string]string
	metrics   map[string]string
	txn       Txn
	adds      []*add
	removes   []*add    // files that were read and go
	moves     bool      // rows only change their file: dataChange is false
	metadata  *metadata // new; nil to leave it
}

// commit makes p the next version. Others' appends are no conflict: it goes on
// top. The metadata must be that of p.form, and files to remove must be live.
// Source: Delta protocol, "Creation of New Log Entries".
func (t *Table) commit(ctx context.Context, p *plan) (Commit, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	id := uuid.NewString()
	wait := 2 * time.Millisecond
	for range t.options.Attempts {
		if err := t.refresh(ctx); err != nil {
			return Commit{}, err
		}
		if last := t.state.txns[p.txn.AppID]; p.txn.AppID != "" && last != nil && last.Version >= p.txn.Version {
			return Commit{Version: t.version, Replayed: true}, nil
		}
		if err := t.check(ctx, p); err != nil {
			return Commit{}, err
		}
		actions := t.actions(p, id)
		data, err := encodeActions(actions)
		if err != nil {
			return Commit{}, fmt.Errorf("delta: commit: %w", err)
		}
		name := path.Join(logDir, commitFile(t.version+1))
		err = t.storage.PutIfAbsent(ctx, name, data)
		if errors.Is(err, fs.ErrExist) && t.wrote(ctx, name, id) {
			err = nil // a store that repeated the request by itself
		}
		if err == nil {
			return t.committed(ctx, p, actions), nil
		}
		if !errors.Is(err, fs.ErrExist) {
			return Commit{}, fmt.Errorf("delta: commit of version %d: %w", t.version+1, err)
		}
		select {
		case <-ctx.Done():
			return Commit{}, fmt.Errorf("delta: commit: %w", ctx.Err())
		case <-time.After(rand.N(wait)):
			wait = min(2*wait, 200*time.Millisecond)
		}
	}
	return Commit{}, fmt.Errorf("delta: commit: %w (%d); try again", ErrBusy, t.options.Attempts)
}

// check says why p does not fit the table as it is now.
func (t *Table) check(ctx context.Context, p *plan) error {
	if !sameMetadata(p.form.metadata, t.state.metadata) {
		return fmt.Errorf("delta: %w: the table's schema or properties were changed", ErrConflict)
	}
	for _, a := range p.removes {
		if t.state.live[a.key()] == nil {
			return fmt.Errorf("delta: %w: file %s was removed", ErrConflict, a.Path)
		}
	}
	for _, a := range p.adds { // written long ago, or under a wrong clock, it may be vacuumed by now
		name, err := fileName(a.Path)
		if err != nil {
			return fmt.Errorf("delta: commit: %w", err)
		}
		o, err := t.storage.Open(ctx, name)
		if err != nil {
			return fmt.Errorf("delta: commit: %w", err)
		}
		o.Close()
	}
	return nil
}

// wrote reports whether name is the commit of that id.
func (t *Table) wrote(ctx context.Context, name, id string) bool {
	o, err := t.storage.Open(ctx, name)
	if err != nil {
		return false
	}
	defer o.Close()
	actions, err := readCommit(o)
	return err == nil && len(actions) > 0 && actions[0].info().TxnID == id
}

func (t *Table) actions(p *plan, id string) []action {
	now := t.stamp()
	all := []action{t.info(p.operation, p.params, len(p.removes) == 0 && p.metadata == nil, p.metrics, id)}
	if p.txn.AppID != "" {
		all = append(all, action{Txn: &txn{p.txn.AppID, p.txn.Version, now}})
	}
	if p.metadata != nil {
		all = append(all, action{MetaData: p.metadata})
	}
	for _, a := range p.removes {
		all = append(all, action{Remove: a.removal(now, !p.moves)})
	}
	for _, a := range p.adds {
		a.ModificationTime, a.DataChange = now, !p.moves
		all = append(all, action{Add: a})
	}
	return all
}

// info is the first action of a commit.
// Source: Delta protocol, "Commit Provenance Information".
func (t *Table) info(operation string, params map[string]string, blind bool, metrics map[string]string, id string) action {
	info := struct {
		Timestamp  int64             `json:"timestamp"`
		Operation  string            `json:"operation"`
		Parameters map[string]string `json:"operationParameters"`
		Blind      bool              `json:"isBlindAppend"`
		Metrics    map[string]string `json:"operationMetrics,omitempty"`
		Engine     string            `json:"engineInfo"`
		TxnID      string            `json:"txnId"`
	}{t.stamp(), operation, params, blind, metrics, t.options.Engine, id}
	return action{CommitInfo: json.RawMessage(jsonText(info))}
}

// jsonText is v as JSON; v is of strings, numbers and maps of them, which
// always encode.
func jsonText(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return "null"
	}
	return string(b)
}

// committed takes the new version into the state and does what is due.
func (t *Table) committed(ctx context.Context, p *plan, actions []action) Commit {
	t.version++
	for _, a := range actions {
		t.state.apply(a)
	}
	if p.metadata != nil {
		t.refused = t.accept()
	}
	c := Commit{Version: t.version, Files: len(p.adds), Removed: len(p.removes)}
	for _, a := range p.adds {
		c.Bytes += a.Size
		if n := parseStats(a.Stats).NumRecords; n != nil {
			c.Rows += *n
		}
	}
	if t.version%t.form.props.checkpointInterval == 0 {
		if c.Upkeep = t.checkpoint(ctx); c.Upkeep == nil && t.form.props.logCleanup {
			_, c.Upkeep = t.cleanLog(ctx)
		}
	}
	return c
}

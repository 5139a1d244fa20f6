package sandbox

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"time"

	"github.com/sallyport-gateway/sallyport/sandbox/internal/wire"
)

const (
	batchBytes = 256 << 10 // of SQL that a worker runs at once
	maxRow     = 8 << 20   // bytes of SQL for one row
	rowCost    = 12        // bytes of the database for a row, beside its values
)

// Image makes the files of a Table from rows, which have a value for each of
// cols: nil, bool, numbers, json.Number, string, []byte, time.Time, and
// whatever encoding/json takes for nested ones. A string in a BINARY column is
// read as base64, and one in a column of numbers as a number.
//
// limit bounds the bytes of the database, roughly, and of the CSV file; rows
// that are too many are left out, and the Table is marked as cut.
//
// In the database integers are INTEGER, decimals and floats numbers of up to 15
// digits, booleans 0 and 1, dates and times text such as "2026-01-31 10:00:00"
// (in UTC where they have a zone), nested values JSON. The CSV file has every
// digit of a decimal, true and false, and base64.
//
// It is made by the SQLite guest in a worker that never runs a model's program.
func (b *Sandbox) Image(ctx context.Context, name string, cols []Column, rows iter.Seq2[[]any, error], limit int64) (Table, error) {
	t, err := b.image(ctx, name, cols, rows, limit)
	if err != nil {
		return Table{}, errors.Join(fmt.Errorf("image of table %s: %w", name, err), t.Close())
	}
	return t, nil
}

func (b *Sandbox) image(ctx context.Context, name string, cols []Column, rows iter.Seq2[[]any, error], limit int64) (t Table, err error) {
	t = Table{Name: name, Columns: cols}
	switch {
	case len(cols) == 0:
		return t, errors.New("it has no columns")
	case limit <= 0:
		return t, fmt.Errorf("the limit is %d bytes", limit)
	}
	select {
	case b.images <- struct{}{}:
		defer func() { <-b.images }()
	case <-ctx.Done():
		return t, ctx.Err()
	}
	e, err := b.edit(ctx, limit)
	if err != nil {
		return t, err
	}
	defer e.close()
	if t.CSV, err = newMemfile("csv"); err != nil {
		return t, err
	}
	text := newText(t.CSV, cols)
	if err := e.run(ctx, text.create()); err != nil {
		return t, err
	}
	for row, err := range rows {
		if err != nil {
			return t, err
		}
		if err := text.add(row); err != nil {
			return t, fmt.Errorf("row %d: %w", t.Rows+1, err)
		}
		if text.size > limit || text.written > limit {
			t.Cut = true
			text.undo()
			break
		}
		t.Rows++
		if len(text.sql) >= batchBytes {
			if err := errors.Join(e.run(ctx, text.take()), text.spill()); err != nil {
				return t, err
			}
		}
	}
	if err := e.run(ctx, text.take()); err != nil {
		return t, err
	}
	if err := e.run(ctx, "COMMIT; DETACH image;"); err != nil {
		return t, err
	}
	if err := text.spill(); err != nil {
		return t, err
	}
	if t.Database, err = newMemfile("database"); err != nil {
		return t, err
	}
	if err := e.fetch(ctx, imageFile, t.Database); err != nil {
		return t, err
	}
	return t, errors.Join(seal(t.CSV), seal(t.Database))
}

// editor is a trusted session: what it runs was written here.
type editor struct {
	box *Sandbox
	at  *proc
	id  uint32
	max int64 // bytes of its files
}

// edit opens a trusted session with files of limit bytes.
func (b *Sandbox) edit(ctx context.Context, limit int64) (*editor, error) {
	b.mu.Lock()
	p, err := b.scribe(ctx)
	if err != nil {
		b.mu.Unlock()
		return nil, err
	}
	e := &editor{box: b, at: p, id: p.fresh(func(id uint32) bool { _, ok := p.owners[id]; return ok }), max: limit*5/4 + 1<<20}
	p.owners[e.id], p.empty = nil, time.Time{}
	l := b.limits
	b.mu.Unlock()
	m := wire.Open{Trusted: true, Limits: wire.Limits{
		Memory: l.Memory, Scratch: e.max, Inodes: 16, Output: int64(l.Output), Wall: l.Wall, CPU: l.CPU, Grace: l.Grace,
	}}
	if err := p.send(wire.KindOpen, e.id, 0, m.Encode()); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrWorker, err)
	}
	return e, nil
}

// scribe is the worker of trusted sessions. b.mu is held, and let go of while
// waiting for it.
func (b *Sandbox) scribe(ctx context.Context) (*proc, error) {
	for {
		if b.closed {
			return nil, ErrClosed
		}
		var there *proc
		for p := range b.procs {
			if p.trusted && !p.retiring {
				there = p
			}
		}
		switch {
		case there != nil && there.ready:
			return there, nil
		case b.refuse(SQL) != nil:
			return nil, b.refuse(SQL)
		case there == nil && b.startErr != nil && b.pausing:
			return nil, fmt.Errorf("%w: %w", ErrWorker, b.startErr)
		case there == nil:
			b.launch(true)
		}
		changed := b.changed
		b.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
		}
		b.mu.Lock()
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
}

// call sends a request and waits for its answer.
func (e *editor) call(ctx context.Context, kind wire.Kind, body []byte, data func([]byte) error) (wire.Result, error) {
	b, p := e.box, e.at
	b.mu.Lock()
	if p.killed {
		b.mu.Unlock()
		return wire.Result{}, fmt.Errorf("%w: %w", ErrWorker, errLost)
	}
	id, c := p.begin(e.id)
	c.data = data
	b.mu.Unlock()
	p.send(kind, e.id, id, body) // when that fails the worker is ended, and so is c
	timer := time.NewTimer(b.limits.Wall + b.limits.Grace + b.tune.answer)
	defer timer.Stop()
	select {
	case <-c.done:
	case <-timer.C:
		p.kill(errors.New("it did not answer in time"))
		<-c.done
	case <-ctx.Done():
		b.mu.Lock()
		p.sendSoon(wire.KindKill, e.id, id)
		b.mu.Unlock()
		select {
		case <-c.done:
		case <-timer.C:
			p.kill(errors.New("it did not answer in time"))
			<-c.done
		}
		return wire.Result{}, ctx.Err()
	}
	if errors.Is(c.err, errLost) {
		return c.result, fmt.Errorf("%w: %w", ErrWorker, c.err)
	}
	return c.result, c.err
}

// run runs SQL of ours.
func (e *editor) run(ctx context.Context, sql string) error {
	if sql == "" {
		return nil
	}
	r, err := e.call(ctx, wire.KindExec, wire.Exec{Language: string(SQL), Code: sql, Wall: e.box.limits.Wall}.Encode(), nil)
	switch {
	case err != nil:
		return err
	case r.Killed != "":
		return fmt.Errorf("SQLite was killed: %s", r.Killed)
	case r.Exit != 0:
		return fmt.Errorf("SQLite: %s", clip([]byte(r.Stderr+r.Stdout)))
	}
	return nil
}

// fetch copies a file of the session to f.
func (e *editor) fetch(ctx context.Context, name string, f *os.File) error {
	w := bufio.NewWriterSize(f, wire.MaxPayload)
	left := e.max
	_, err := e.call(ctx, wire.KindRead, []byte(name), func(b []byte) error {
		if left -= int64(len(b)); left < 0 {
			return fmt.Errorf("%w: more than was asked for", wire.ErrMalformed)
		}
		_, err := w.Write(b)
		return err
	})
	if err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err = f.Seek(0, io.SeekStart)
	return err
}

// close ends the session.
func (e *editor) close() {
	e.box.mu.Lock()
	defer e.box.mu.Unlock()
	e.at.sendSoon(wire.KindClose, e.id, 0)
}

//go:build cgo

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	"github.com/sallyport-gateway/sallyport/sdk/engine"
)

const (
	checkerUses = 1000            // then it is replaced
	checkerTime = 5 * time.Second // for one statement
)

// checker is a child that parses statements and has no data to lose. It is
// kept between calls, which run one at a time.
type checker struct {
	mu   sync.Mutex
	p    *process
	uses int
}

func (c *checker) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drop()
}

func (c *checker) drop() {
	if c.p != nil {
		c.p.kill()
		c.p, c.uses = nil, 0
	}
}

// Inspect implements engine.Engine.
func (e *duckEngine) Inspect(ctx context.Context, sql string) (engine.Statement, error) {
	if len(sql) > maxSQL {
		return engine.Statement{}, invalid("The SQL is %d bytes long; at most %d are possible.", len(sql), maxSQL)
	}
	if err := e.open(); err != nil {
		return engine.Statement{}, apierror.Wrap(apierror.Unavailable, err, "The query engine is not running.")
	}
	c := &e.checker
	c.mu.Lock()
	defer c.mu.Unlock()
	for first := true; ; first = false {
		if ctx.Err() != nil {
			return engine.Statement{}, canceled(ctx)
		}
		if c.p != nil && (c.uses >= checkerUses || !c.p.alive()) {
			c.drop()
		}
		if c.p == nil {
			p, err := e.spawn(ctx)
			if err != nil {
				return engine.Statement{}, apierror.Wrap(apierror.Unavailable, err, "The query engine could not start a process; try again.")
			}
			c.p = p
		}
		c.uses++
		st, err := c.ask(ctx, sql, e.cfg.Unconfined)
		if first && errors.Is(err, errKilled) {
			continue // no fault of the statement
		}
		return st, err
	}
}

// errKilled is the end of a checker that somebody else killed: a person, or a
// system short of memory. What the statement itself can do to it looks
// different.
var errKilled = errors.New("the process was killed from outside")

func (c *checker) ask(parent context.Context, sql string, loose bool) (st engine.Statement, err error) {
	ctx, cancel := context.WithTimeoutCause(parent, checkerTime, errWall)
	defer cancel()
	defer context.AfterFunc(ctx, c.p.signal)()
	mode := byte('s')
	if loose {
		mode = 'l'
	}
	var typ byte
	var b []byte
	if err = writeFrame(c.p.in, frameInspect, append([]byte{mode}, sql...)); err == nil {
		typ, b, err = readFrame(c.p.out, maxRequest)
	}
	switch {
	case err == nil && typ == frameStatement:
		err = json.Unmarshal(b, &st)
	case err == nil && typ == frameError:
		return st, c.p.failure(b)
	case err == nil:
		err = fmt.Errorf("a checker sent a frame of type %q", typ)
	}
	if err == nil {
		return st, nil
	}
	p := c.p
	c.drop()
	if parent.Err() != nil {
		return st, canceled(parent)
	}
	slog.Warn("checker ended", "error", err, "end", p.end())
	if ctx.Err() == nil && p.wasKilled() {
		return st, apierror.Wrap(apierror.Unavailable, errKilled, "The process that reads SQL was stopped; run the query again.")
	}
	return st, invalid("The SQL is too deep or too large to be read; write a simpler statement.")
}

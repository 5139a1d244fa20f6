package provider

import (
	"container/list"
	"crypto/rand"
	"sync"
	"time"
)

const (
	maxTokens   = 4096             // handed out and not used yet
	tokenLife   = 30 * time.Second // from OpenData to HELLO
	tokenLength = 32
)

// tokens are those handed out and not used yet. The zero value has none.
type tokens struct {
	mu    sync.Mutex
	good  map[string]*list.Element // of order
	order list.List                // of ticket, the oldest first
}

type ticket struct {
	token string
	end   time.Time
}

// give makes a token. Where there are too many, the oldest gives way: who asked
// for it and did not come must not keep others out.
func (t *tokens) give(now time.Time) string {
	b := make([]byte, tokenLength)
	rand.Read(b)
	token := string(b)
	t.mu.Lock()
	defer t.mu.Unlock()
	for e := t.order.Front(); e != nil; e = t.order.Front() {
		if len(t.good) < maxTokens && !now.After(e.Value.(ticket).end) {
			break
		}
		t.dropLocked(e)
	}
	if t.good == nil {
		t.good = make(map[string]*list.Element)
	}
	t.good[token] = t.order.PushBack(ticket{token, now.Add(tokenLife)})
	return token
}

// take uses a token up, and reports whether it was good.
func (t *tokens) take(token string, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	e, ok := t.good[token]
	return ok && !now.After(t.dropLocked(e).end)
}

func (t *tokens) dropLocked(e *list.Element) ticket {
	k := t.order.Remove(e).(ticket)
	delete(t.good, k.token)
	return k
}

func (t *tokens) count() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.good)
}

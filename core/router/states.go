package router

import (
	"container/list"
	"slices"
	"sync"
	"time"

	"github.com/sallyport-gateway/sallyport/sdk/openresponses"
)

const (
	stateAge   = time.Hour // how long state is kept for the next turn
	stateBytes = 32 << 20  // of all callers together; what was not used for longest goes first
	stateOne   = 4 << 20   // of one turn
)

// states keeps reasoning for clients whose dialect has no place for it: by who
// asked and the ids of the calls that came after it, which such a client does
// send back.
type states struct {
	mu    sync.Mutex
	turns map[stateKey]*list.Element // of *turnState
	order list.List                  // the newest first
	bytes int
	now   func() time.Time
}

type stateKey struct{ caller, call string }

// turnState is what a turn of a model had in the places before its message and
// its calls.
type turnState struct {
	keys   []stateKey
	before map[string][]openresponses.Item // by call id; "" is the message
	bytes  int
	until  time.Time
}

func newStates() *states {
	return &states{turns: map[stateKey]*list.Element{}, now: time.Now}
}

// keep takes the items of a turn.
func (s *states) keep(caller string, items []openresponses.Item) {
	t := &turnState{before: map[string][]openresponses.Item{}}
	var waiting []openresponses.Item
	for _, it := range items {
		switch it.Type {
		case openresponses.TypeReasoning:
			if it.EncryptedContent != "" {
				waiting = append(waiting, it)
				t.bytes += itemSize(&it)
			}
		case openresponses.TypeFunctionCall:
			t.keys = append(t.keys, stateKey{caller, it.CallID})
			t.before[it.CallID] = append(t.before[it.CallID], waiting...)
			waiting = nil
		case openresponses.TypeMessage:
			t.before[""] = append(t.before[""], waiting...)
			waiting = nil
		}
	}
	if t.bytes == 0 || t.bytes > stateOne || len(t.keys) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t.until = s.now().Add(stateAge)
	for _, k := range t.keys {
		if old, ok := s.turns[k]; ok {
			s.remove(old)
		}
	}
	el := s.order.PushFront(t)
	for _, k := range t.keys {
		s.turns[k] = el
	}
	s.bytes += t.bytes
	for last := s.order.Back(); last != nil && (s.bytes > stateBytes || s.now().After(last.Value.(*turnState).until)); last = s.order.Back() {
		s.remove(last)
	}
}

func (s *states) remove(el *list.Element) {
	t := s.order.Remove(el).(*turnState)
	s.bytes -= t.bytes
	for _, k := range t.keys {
		if s.turns[k] == el {
			delete(s.turns, k)
		}
	}
}

// find gives what is kept for a call.
func (s *states) find(k stateKey) *turnState {
	s.mu.Lock()
	defer s.mu.Unlock()
	el, ok := s.turns[k]
	if !ok {
		return nil
	}
	t := el.Value.(*turnState)
	if s.now().After(t.until) {
		s.remove(el)
		return nil
	}
	return t
}

// restore puts what is kept back into the turns of a request.
func (s *states) restore(caller string, r *openresponses.Request) {
	var out []openresponses.Item
	done := 0 // items of r.Input that are in out
	for i := 0; i < len(r.Input); i++ {
		if !ofModel(&r.Input[i]) {
			continue
		}
		end := i
		var t *turnState
		for ; end < len(r.Input) && ofModel(&r.Input[end]); end++ {
			if it := &r.Input[end]; t == nil && it.Type == openresponses.TypeFunctionCall {
				t = s.find(stateKey{caller, it.CallID})
			}
		}
		if t != nil && !slices.ContainsFunc(r.Input[i:end], func(it openresponses.Item) bool { return it.Type == openresponses.TypeReasoning }) {
			out = t.weave(append(out, r.Input[done:i]...), r.Input[i:end])
			done = end
		}
		i = end
	}
	if done > 0 {
		r.Input = append(out, r.Input[done:]...)
	}
}

// weave appends a turn with what was before its parts.
func (t *turnState) weave(out, turn []openresponses.Item) []openresponses.Item {
	message := t.before[""]
	for _, it := range turn {
		if len(message) > 0 { // also where the message was empty, and so is not there
			out, message = append(out, message...), nil
		}
		if it.Type == openresponses.TypeFunctionCall {
			out = append(out, t.before[it.CallID]...)
		}
		out = append(out, it)
	}
	return out
}

// ofModel reports whether an item is a part of what a model has said.
func ofModel(it *openresponses.Item) bool {
	switch it.Type {
	case openresponses.TypeFunctionCall, openresponses.TypeReasoning:
		return true
	case openresponses.TypeMessage:
		return it.Role == "assistant"
	}
	return false
}

package client

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// Edit is one setting of a file: a value to write, or one to take away.
type Edit struct {
	Path   []string // of the member: ["env", "ANTHROPIC_MODEL"]
	Value  any      // string, bool or []string; nil takes the member away
	IfNone bool     // a value that is there stays
	Secret bool     // the record of the change does not hold the value
}

// Change is an edit that was made, with what it needs to be taken back.
type Change struct {
	Path  []string `json:"path"`
	Value any      `json:"value"`          // nil: the member was taken away, or Sum is set
	Sum   string   `json:"sum,omitempty"`  // SHA-256 of a value that is a secret
	Old   string   `json:"old,omitempty"`  // its value before, as it was written
	Had   bool     `json:"had,omitempty"`  // there was one
	Made  int      `json:"made,omitempty"` // the first Made containers on Path, counted from the outermost, that were there already
}

// format is a kind of file: how its members are found and written without
// touching the rest.
type format interface {
	// decode is what the file means. An empty text is an empty file.
	decode(text []byte) (map[string]any, error)
	// raw is the member's value as it is written.
	raw(text []byte, path []string) (string, bool, error)
	// set writes value, a literal of the format, at path.
	set(text []byte, path []string, value string) ([]byte, error)
	// remove takes the member away, and a container only if it is empty.
	remove(text []byte, path []string) ([]byte, error)
	// literal writes a value as the format has it.
	literal(v any) string
}

// formats by their name in a record.
var formats = map[string]format{"json": jsonc{}, "toml": tomlFile{}, "env": dotenv{}}

// errForm is a file that is written in a way in which it cannot be changed
// without disturbing it.
var errForm = errors.New("it is written in a form that cannot be changed without disturbing the rest")

// apply makes edits and returns the new text with the changes that were made.
func apply(f format, text []byte, edits []Edit) ([]byte, []Change, error) {
	before, err := f.decode(text)
	if err != nil {
		return nil, nil, err
	}
	var changes []Change
	want := before
	for _, e := range edits {
		old, had, err := f.raw(text, e.Path)
		if err != nil {
			return nil, nil, err
		}
		if had && e.IfNone || !had && e.Value == nil {
			continue
		}
		if now, _ := find(want, e.Path); had && e.Value != nil && reflect.DeepEqual(now, plain(e.Value)) {
			continue
		}
		c := Change{Path: e.Path, Value: e.Value, Old: old, Had: had, Made: len(e.Path) - 1}
		for i := range len(e.Path) - 1 {
			if _, ok := find(want, e.Path[:i+1]); !ok {
				c.Made = i
				break
			}
		}
		if e.Value == nil {
			text, err = f.remove(text, e.Path)
		} else {
			text, err = f.set(text, e.Path, f.literal(e.Value))
		}
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", strings.Join(e.Path, "."), err)
		}
		want = with(want, e.Path, e.Value)
		if text, ok := e.Value.(string); ok && e.Secret {
			c.Value, c.Sum = nil, sum([]byte(text))
		}
		changes = append(changes, c)
		if err := same(f, text, want); err != nil {
			return nil, nil, fmt.Errorf("%s: %w", strings.Join(e.Path, "."), err)
		}
	}
	return text, changes, nil
}

// takeOut takes changes back from a text that somebody else may have changed.
// A member that is no longer as it was left stays, and is named in kept; with
// over it is taken back like the others.
func takeOut(f format, text []byte, changes []Change, over bool) (out []byte, kept []string, err error) {
	want, err := f.decode(text)
	if err != nil {
		return nil, nil, err
	}
	for i := len(changes) - 1; i >= 0; i-- {
		c := changes[i]
		if now, ok := find(want, c.Path); !over && (ok || c.Had) && !c.left(now, ok) {
			if raw, there, err := f.raw(text, c.Path); err != nil || there != c.Had || raw != c.Old {
				kept = append(kept, strings.Join(c.Path, "."))
			}
			continue
		}
		if c.Had {
			text, err = f.set(text, c.Path, c.Old)
		} else {
			text, err = f.remove(text, c.Path)
			for n := len(c.Path) - 1; err == nil && n > c.Made; n-- {
				var m map[string]any
				if m, err = f.decode(text); err != nil {
					break
				}
				if v, ok := find(m, c.Path[:n]); ok {
					if inner, ok := v.(map[string]any); !ok || len(inner) > 0 {
						break
					}
					text, err = f.remove(text, c.Path[:n])
				}
			}
		}
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", strings.Join(c.Path, "."), err)
		}
		if want, err = f.decode(text); err != nil {
			return nil, nil, fmt.Errorf("%s: %w", strings.Join(c.Path, "."), err)
		}
	}
	slices.Reverse(kept)
	return text, kept, nil
}

// left tells whether the value that is there, if any, is what the change made
// of it.
func (c Change) left(now any, ok bool) bool {
	if c.Sum != "" {
		text, is := now.(string)
		return is && sum([]byte(text)) == c.Sum
	}
	return ok == (c.Value != nil) && (!ok || reflect.DeepEqual(now, plain(c.Value)))
}

// same checks that text means want and nothing else.
func same(f format, text []byte, want map[string]any) error {
	got, err := f.decode(text)
	if err != nil || !reflect.DeepEqual(got, want) {
		return errForm
	}
	return nil
}

// plain is v as a decoder gives it.
func plain(v any) any {
	if list, ok := v.([]string); ok {
		out := make([]any, len(list))
		for i, s := range list {
			out[i] = s
		}
		return out
	}
	return v
}

func find(m map[string]any, path []string) (any, bool) {
	var v any = m
	for _, p := range path {
		inner, ok := v.(map[string]any)
		if !ok {
			return nil, false
		}
		if v, ok = inner[p]; !ok {
			return nil, false
		}
	}
	return v, true
}

// with is a copy of m in which path has the value v, or nothing when v is nil.
func with(m map[string]any, path []string, v any) map[string]any {
	m = maps.Clone(m)
	if m == nil {
		m = map[string]any{}
	}
	switch {
	case len(path) > 1:
		inner, _ := m[path[0]].(map[string]any)
		m[path[0]] = with(inner, path[1:], v)
	case v == nil:
		delete(m, path[0])
	default:
		m[path[0]] = plain(v)
	}
	return m
}

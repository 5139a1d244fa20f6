package openresponses

import (
	"bytes"
	"encoding/json"
	"strings"
)

// The raw JSON of a part is a slice of its item's: a picture of 20 MB is not
// kept twice. These find the slices in JSON that was checked before.

// member returns the value of an object's member, nil if there is none.
func member(object []byte, name string) json.RawMessage {
	s := scanner{b: object}
	if !s.enter('{') {
		return nil
	}
	for s.i < len(s.b) && s.b[s.i] == '"' {
		key, f := s.key()
		if f != nil || !s.enter(':') {
			return nil
		}
		start := s.i
		if !s.skip() {
			return nil
		}
		if string(s.name(key)) == name {
			return s.b[start:s.i:s.i]
		}
		if !s.enter(',') {
			return nil
		}
	}
	return nil
}

// elements returns the elements of an array, nil if it is none.
func elements(array []byte) []json.RawMessage {
	s := scanner{b: array}
	if !s.enter('[') {
		return nil
	}
	var list []json.RawMessage
	for e := s.element(); e != nil; e = s.element() {
		list = append(list, e)
	}
	return list
}

// element returns the next element of an array that was entered, nil if there is
// none.
func (s *scanner) element() json.RawMessage {
	if s.i >= len(s.b) || s.b[s.i] == ']' {
		return nil
	}
	start := s.i
	if !s.skip() {
		return nil
	}
	e := s.b[start:s.i:s.i]
	s.enter(',')
	return e
}

// enter passes over the mark c and the space around it.
func (s *scanner) enter(c byte) bool {
	s.space()
	if s.i >= len(s.b) || s.b[s.i] != c {
		return false
	}
	s.i++
	s.space()
	return true
}

// skip passes over a value in JSON that was checked, looking only for its end.
// It reports false where there is none.
func (s *scanner) skip() bool {
	for depth := 0; s.i < len(s.b); {
		switch s.b[s.i] {
		case '"':
			if !s.skipString() {
				return false
			}
		case '{', '[':
			depth++
			s.i++
			continue
		case '}', ']':
			depth--
			s.i++
		case ',', ':', ' ', '\t', '\n', '\r':
			s.i++
			continue
		default: // a number, true, false or null
			for s.i < len(s.b) && strings.IndexByte(",:]} \t\n\r", s.b[s.i]) < 0 {
				s.i++
			}
		}
		if depth <= 0 {
			return true
		}
	}
	return false
}

func (s *scanner) skipString() bool {
	for s.i++; ; s.i++ {
		n := bytes.IndexByte(s.b[s.i:], '"')
		if n < 0 {
			return false
		}
		start := s.i
		s.i += n
		escapes := 0
		for s.i-escapes > start && s.b[s.i-escapes-1] == '\\' {
			escapes++
		}
		if escapes%2 == 0 {
			s.i++
			return true
		}
	}
}

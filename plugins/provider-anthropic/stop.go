package main

import "strings"

// stopper ends a text at a stop sequence. Not every provider can be told any,
// so what the client asked for is held to here: of what comes behind it nothing
// is written. The zero value lets everything through.
type stopper struct {
	sequences []string
	kept      string // the end of the text so far, which may begin a sequence
	hit       string // the sequence that was met; "" while none was
}

// pass takes the next piece of a text and gives what of it may be written.
func (s *stopper) pass(text string) string {
	if len(s.sequences) == 0 {
		return text
	}
	if s.hit != "" {
		return ""
	}
	text = s.kept + text
	s.kept = ""
	first := -1
	for _, q := range s.sequences {
		if at := strings.Index(text, q); at >= 0 && (first < 0 || at < first) {
			first, s.hit = at, q
		}
	}
	if first >= 0 {
		return text[:first]
	}
	keep := 0
	for _, q := range s.sequences {
		for n := min(len(q)-1, len(text)); n > keep; n-- {
			if strings.HasSuffix(text, q[:n]) {
				keep = n
			}
		}
	}
	s.kept = text[len(text)-keep:]
	return text[:len(text)-keep]
}

// rest gives what was kept when the text has ended.
func (s *stopper) rest() string {
	text := s.kept
	s.kept = ""
	return text
}

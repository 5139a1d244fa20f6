package main

import "slices"

// maxMarks is how many cache marks Anthropic takes in one request.
const maxMarks = 4

// cache sees to the marks. A client's own stay, the last four of them. Without
// any, what an agent sends again with every turn is marked: the tools, the
// system blocks, the conversation up to here, and up to the message before, so
// that a turn with many results still finds where the last one ended. A single
// question without tools is not marked: writing to a cache costs more than
// reading, and nobody would read it.
func (e *encoder) cache(m *messagesRequest) {
	var own []**mark
	for i := range m.Tools {
		own = append(own, &m.Tools[i].CacheControl)
	}
	own = append(own, marksOf(m.System)...)
	for i := range m.Messages {
		own = append(own, marksOf(m.Messages[i].Content)...)
	}
	own = slices.DeleteFunc(own, func(p **mark) bool { return *p == nil })
	for i := range max(0, len(own)-maxMarks) {
		*own[i] = nil
	}
	if len(own) > 0 || !e.model.cache || len(m.Tools) == 0 && len(m.Messages) == 1 {
		return
	}
	if n := len(m.Tools); n > 0 {
		m.Tools[n-1].CacheControl = &mark{Type: "ephemeral"}
	}
	markLast(m.System)
	users := 0
	for i := len(m.Messages) - 1; i >= 0 && users < 2; i-- {
		if m.Messages[i].Role == "user" {
			markLast(m.Messages[i].Content)
			users++
		}
	}
}

// marksOf are the places of marks in blocks, those within results before the
// results' own.
func marksOf(blocks []block) []**mark {
	var out []**mark
	for i := range blocks {
		out = append(append(out, marksOf(blocks[i].Content)...), &blocks[i].CacheControl)
	}
	return out
}

func markLast(blocks []block) {
	if n := len(blocks); n > 0 {
		blocks[n-1].CacheControl = &mark{Type: "ephemeral"}
	}
}

package upstream

import "slices"

func blockIDs(m object, typ, member string) []string {
	var ids []string
	for _, b := range objects(m, "content") {
		if b["type"] == typ {
			ids = append(ids, str(b, member))
		}
	}
	return ids
}

// claudePairs checks that each call has its result in the next message, first
// of all, and each result its call in the one before.
func claudePairs(_ *Server, o object) *refusal {
	ms, seen, used := objects(o, "messages"), map[string]bool{}, false
	for i, m := range ms {
		calls := blockIDs(m, "tool_use", "id")
		for _, id := range calls {
			used = true
			if seen[id] {
				return claude("messages.%d: `tool_use` ids must be unique", i)
			}
			seen[id] = true
		}
		var next, before object
		if i+1 < len(ms) {
			next = ms[i+1]
		}
		if i > 0 {
			before = ms[i-1]
		}
		results := blockIDs(next, "tool_result", "tool_use_id")
		for _, id := range calls {
			if !slices.Contains(results, id) {
				return claude("messages.%d: `tool_use` ids were found without `tool_result` blocks immediately after: %s. Each `tool_use` block must have a corresponding `tool_result` block in the next message.", i, id)
			}
		}
		once := map[string]bool{}
		for j, b := range objects(m, "content") {
			if b["type"] != "tool_result" {
				continue
			}
			id := str(b, "tool_use_id")
			if !slices.Contains(blockIDs(before, "tool_use", "id"), id) {
				return claude("messages.%d.content.%d: unexpected `tool_use_id` found in `tool_result` blocks: %s. Each `tool_result` block must have a corresponding `tool_use` block in the previous message.", i, j, id)
			}
			if once[id] {
				return claude("messages.%d.content.%d: each tool_use must have a single result. Found multiple `tool_result` blocks with id: %s", i, j, id)
			}
			once[id] = true
			if j >= len(once) {
				return claude("messages.%d: `tool_use` ids were found without `tool_result` blocks immediately after: %s. Each `tool_use` block must have a corresponding `tool_result` block in the next message.", i-1, id)
			}
		}
	}
	if _, ok := o["tools"]; used && !ok {
		return claude("Requests which have `tool_use` or `tool_result` blocks in their messages must define tools.")
	}
	return nil
}

// claudeThinking checks that, with thinking enabled, the turn that is going on
// has the thinking that led to its calls, unchanged and in front of them. With
// adaptive thinking earlier turns need none.
func claudeThinking(s *Server, o object) *refusal {
	if member(o, "thinking")["type"] != "enabled" {
		return nil
	}
	ms := objects(o, "messages")
	begin := len(ms) // of the turn that is going on
	for begin > 0 {
		m := ms[begin-1]
		if m["role"] == "user" && len(blockIDs(m, "tool_result", "tool_use_id")) < max(1, len(objects(m, "content"))) {
			break
		}
		begin--
	}
	first := true
	for i := begin; i < len(ms); i++ {
		m := ms[i]
		if m["role"] != "assistant" {
			continue
		}
		blocks := objects(m, "content")
		starts := len(blocks) > 0 && (blocks[0]["type"] == "thinking" || blocks[0]["type"] == "redacted_thinking")
		found := "text"
		if len(blocks) > 0 {
			found = str(blocks[0], "type")
		}
		needs := first && len(blockIDs(m, "tool_use", "id")) > 0
		for _, id := range blockIDs(m, "tool_use", "id") {
			if want := s.memory.calls[id].reasoning; want != "" && !slices.Contains(blockIDs(m, "thinking", "signature"), want) && !slices.Contains(blockIDs(m, "redacted_thinking", "data"), want) {
				needs, starts = true, false
			}
		}
		if needs && !starts {
			return claude("messages.%d.content.0.type: Expected `thinking` or `redacted_thinking`, but found `%s`. When `thinking` is enabled, a final `assistant` message must start with a thinking block (preceeding the lastmost set of `tool_use` and `tool_result` blocks). We recommend you include thinking blocks from previous turns. To avoid this requirement, disable `thinking`. Please consult our documentation at https://docs.claude.com/en/docs/build-with-claude/extended-thinking", i, found)
		}
		first = false
	}
	return nil
}

package main

import (
	"strconv"

	or "github.com/sallyport-gateway/sallyport/sdk/openresponses"
	"github.com/sallyport-gateway/sallyport/sdk/provider/dialogue"
)

// interrupted is the result of a call that has none: the client was stopped
// while its tool ran.
const interrupted = "(No result: the call was interrupted.)"

// pairUp gives every call exactly one output and every output a call before
// it, which providers insist on and interrupted clients forget. A call without
// an output gets one that says so, an output without a call becomes something
// the user says, and the second of two calls with one id gets another. Items
// in good order come back as they are.
func pairUp(items []or.Item) []or.Item {
	if paired(items) {
		return items
	}
	out := make([]or.Item, 0, len(items)+2)
	now := map[string]int{} // client's id → place in out of its call that waits for an output
	used := map[string]bool{}
	for i := range items {
		it := items[i]
		switch it.Type {
		case or.TypeFunctionCall:
			id := it.CallID
			if used[id] {
				it.CallID, it.Raw = ourPrefix+dialogue.Digest(24, id, strconv.Itoa(i)), nil
			}
			used[id] = true
			now[id] = len(out)
		case or.TypeFunctionCallOutput:
			at, waits := now[it.CallID]
			if !waits {
				out = append(out, orphan(&it))
				continue
			}
			delete(now, it.CallID)
			if id := out[at].CallID; id != it.CallID {
				it.CallID, it.Raw = id, nil
			}
		}
		out = append(out, it)
	}
	return answered(out)
}

// paired reports whether calls and outputs are in good order.
func paired(items []or.Item) bool {
	open, used := 0, map[string]int{} // 1: called, 2: answered
	for i := range items {
		switch id := items[i].CallID; items[i].Type {
		case or.TypeFunctionCall:
			if used[id] != 0 {
				return false
			}
			used[id] = 1
			open++
		case or.TypeFunctionCallOutput:
			if used[id] != 1 {
				return false
			}
			used[id] = 2
			open--
		}
	}
	return open == 0
}

// answered adds the outputs that are missing, each before the next thing that
// is not the model's.
func answered(items []or.Item) []or.Item {
	has := map[string]bool{}
	for i := range items {
		if items[i].Type == or.TypeFunctionCallOutput {
			has[items[i].CallID] = true
		}
	}
	var out, missing []or.Item
	for i := range items {
		it := items[i]
		if it.Type == or.TypeMessage && it.Role != "assistant" {
			out, missing = append(out, missing...), nil
		}
		out = append(out, it)
		if it.Type == or.TypeFunctionCall && !has[it.CallID] {
			missing = append(missing, or.Item{Type: or.TypeFunctionCallOutput, CallID: it.CallID, Output: or.Output{Text: interrupted}, Status: or.StatusFailed})
		}
	}
	return append(out, missing...)
}

// orphan is what an output without its call says.
func orphan(it *or.Item) or.Item {
	parts := it.Output.Parts
	if parts == nil {
		parts = []or.Part{{Type: or.PartInputText, Text: it.Output.Text}}
	}
	return or.Item{Type: or.TypeMessage, Role: "user", Content: append([]or.Part{{Type: or.PartInputText, Text: "(Result of an earlier call:)"}}, parts...)}
}

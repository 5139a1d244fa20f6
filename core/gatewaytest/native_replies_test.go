package gatewaytest_test

import (
	"slices"
	"strings"
)

// streamFrames are a good stream of each dialect, one event an element.
var streamFrames = map[string][]string{
	"anthropic": {
		"event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"@@\",\"content\":[],\"usage\":{\"input_tokens\":3,\"output_tokens\":1}}}\n\n",
		"event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"\"}}\n\n",
		"event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"signature_delta\",\"signature\":\"ErUB+/==\"}}\n\n",
		"event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n",
		"event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":1,\"delta\":{\"type\":\"text_delta\",\"text\":\"Hélló 😀 \\ud83d\\ude00 1e400\"}}\n\n",
		"event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":7}}\n\n",
		"event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
	},
	"responses": {
		"event: response.created\ndata: {\"type\":\"response.created\",\"sequence_number\":0,\"response\":{\"id\":\"resp_1\",\"status\":\"in_progress\",\"output\":[]}}\n\n",
		"event: response.output_item.added\ndata: {\"type\":\"response.output_item.added\",\"output_index\":0,\"item\":{\"id\":\"rs_1\",\"type\":\"reasoning\",\"summary\":[],\"encrypted_content\":\"gAAAAA==\"}}\n\n",
		"event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"item_id\":\"msg_1\",\"output_index\":1,\"content_index\":0,\"delta\":\"Hélló 😀\",\"obfuscation\":\"k2Jf\"}\n\n",
		"event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"id\":\"resp_1\",\"status\":\"completed\",\"output\":[],\"usage\":{\"input_tokens\":3,\"output_tokens\":7,\"total_tokens\":10}}}\n\n",
	},
	"chat": {
		"data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n",
		"data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hélló 😀\"}}]}\n\n",
		"data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n",
		"data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":7,\"total_tokens\":10}}\n\n",
		"data: [DONE]\n\n",
	},
	"gemini": {
		"data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"Hélló 😀\"}],\"role\":\"model\"}}],\"usageMetadata\":{\"promptTokenCount\":3}}\r\n\r\n",
		"data: {\"candidates\":[{\"content\":{\"parts\":[{\"functionCall\":{\"name\":\"f\",\"args\":{\"x\":0.10}},\"thoughtSignature\":\"CiQB+/==\"}],\"role\":\"model\"}}]}\r\n\r\n",
		"data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"\"}],\"role\":\"model\"},\"finishReason\":\"STOP\"}],\"usageMetadata\":{\"promptTokenCount\":3,\"candidatesTokenCount\":7,\"totalTokenCount\":10}}\r\n\r\n",
	},
}

// framesOf are the frames as the route's provider sends them.
func framesOf(r nativeRoute) []string {
	frames := streamFrames[r.provider]
	switch {
	case strings.Contains(r.path, "chat/completions"):
		frames = streamFrames["chat"]
	case strings.Contains(r.path, "responses"):
		frames = streamFrames["responses"]
	}
	frames = slices.Clone(frames)
	for i := range frames {
		frames[i] = strings.Replace(frames[i], "@@", r.theirs, 1)
	}
	return frames
}

// wholeReply is a good reply on a route, as its provider sends it.
func wholeReply(r nativeRoute) string {
	if r.stream {
		return strings.Join(framesOf(r), "")
	}
	return "{\n \"id\": \"x_1\",\t\"new\":{\"a\":1,\"a\":2,\"model\":\"" + r.theirs + "\"},\"n\":[1e400,0.10,-0],\"text\":\"H\u00e9ll\u00f3 \\ud83d\\ude00 \U0001f600\",\"signature\":\"ErUB+/==\"," +
		"\"model\" : \"" + r.theirs + "\",\"usage\":{\"input_tokens\":3,\"output_tokens\":7},\"usageMetadata\":{\"promptTokenCount\":3}}\n\n"
}

// received is what the client gets of a reply: the same, but that Anthropic's
// clients read the name they asked for, without which some drop the reasoning.
func received(r nativeRoute, reply string) string {
	if r.provider != "anthropic" {
		return reply
	}
	before, name := `"model" : "`, r.theirs
	if r.stream {
		before = `"model":"`
	}
	return strings.Replace(reply, before+name, before+"our-"+r.provider, 1)
}

// streams are the ways in which a good stream may come. Its bytes are the same
// however they are cut into pieces.
func streams(frames []string) map[string][]string {
	all := strings.Join(frames, "")
	nl := "\n"
	if strings.Contains(all, "\r\n") {
		nl = "\r\n"
	}
	long := frames[1]
	long = strings.Replace(long, "{", `{"pad":"`+strings.Repeat("0123456789abcdéf", 80_000)+`",`, 1)
	between := func(what string) []string {
		var out []string
		for _, f := range frames {
			out = append(out, what, f)
		}
		return out
	}
	swap := func(from, to string) []string {
		var out []string
		for _, f := range frames {
			out = append(out, strings.ReplaceAll(f, from, to))
		}
		return out
	}
	return map[string][]string{
		"by the event":          frames,
		"in one piece":          {all},
		"by the byte":           strings.Split(all, ""), // by the letter, of one to four bytes
		"in letters cut apart":  cut(all, 3),
		"in odd pieces":         cut(all, 1, 7, 64, 2, 301),
		"CRLF":                  swapLines(frames, "\r\n"),
		"LF":                    swapLines(frames, "\n"),
		"comments":              between(": keep-alive" + nl + nl),
		"empty lines":           between(nl + nl + nl),
		"ids and retries":       between("id: 7" + nl + "retry: 3000" + nl + "x-new: y" + nl + nl),
		"no space":              swap("data: ", "data:"),
		"an event nobody knows": slices.Concat(frames[:1], []string{"event: brand_new" + nl + "data: {\"type\":\"brand_new\",\"n\":1e400}" + nl + nl}, frames[1:]),
		"a line over 1 MiB":     slices.Concat(frames[:1], []string{long}, frames[1:]),
		"something after":       append(slices.Clone(frames), ": good bye"+nl+nl),
		"one newline less":      {strings.TrimSuffix(all, nl)},
	}
}

// swapLines ends each line with nl.
func swapLines(frames []string, nl string) []string {
	var out []string
	for _, f := range frames {
		out = append(out, strings.ReplaceAll(strings.ReplaceAll(f, "\r\n", "\n"), "\n", nl))
	}
	return out
}

// cut cuts a text into pieces of these sizes, over and over.
func cut(text string, sizes ...int) []string {
	var out []string
	for i := 0; text != ""; i++ {
		n := min(sizes[i%len(sizes)], len(text))
		out, text = append(out, text[:n]), text[n:]
	}
	return out
}

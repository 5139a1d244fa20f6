package conformance

import (
	"slices"
	"strings"

	"github.com/sallyport-gateway/sallyport/sdk/boot"
)

// checks in the order they run.
var checks = []check{
	{name: "describe", run: (*checker).checkDescribe},
	{name: "manifest", run: (*checker).checkManifest},
	{name: "started by hand", run: (*checker).checkByHand},
	{name: "start", run: (*checker).checkStart},
	{name: "settings", run: (*checker).checkSettings},

	{name: "dialogues", kinds: boot.Provider, run: (*checker).checkTurns},
	{name: "splits", kinds: boot.Provider, run: (*checker).checkSplits},
	{name: "cut replies", kinds: boot.Provider, crash: "crash-on-cut-reply", run: (*checker).checkCut},
	{name: "garbage replies", kinds: boot.Provider, crash: "crash-on-garbage", run: (*checker).checkGarbage},
	{name: "lost fields", kinds: boot.Provider, run: (*checker).checkLost},
	{name: "frames", kinds: boot.Provider, crash: "crash-on-frames", run: (*checker).checkFrames},
	{name: "slow reader", kinds: boot.Provider, crash: "crash-under-load", run: (*checker).checkSlowReader},
	{name: "side by side", kinds: boot.Provider, crash: "crash-under-load", run: (*checker).checkTurnsTogether},
	{name: "large bodies", kinds: boot.Provider, crash: "crash-on-large-input", run: (*checker).checkLargeTurns},
	{name: "cancellation", kinds: boot.Provider, crash: "crash-on-cancel", run: (*checker).checkTurnsCanceled},

	{name: "surfaces", kinds: boot.Provider, run: (*checker).checkFronts},
	{name: "surfaces, broken off", kinds: boot.Provider, crash: "crash-on-cut-reply", run: (*checker).checkFrontErrors},
	{name: "surfaces, wrong bodies", kinds: boot.Provider, crash: "crash-on-garbage", run: (*checker).checkFrontBodies},
	{name: "surfaces, slow events", kinds: boot.Provider, run: (*checker).checkFrontPace},
	{name: "surfaces, frames", kinds: boot.Provider, crash: "crash-on-frames", run: (*checker).checkFrontFrames},
	{name: "surfaces, side by side", kinds: boot.Provider, crash: "crash-under-load", run: (*checker).checkFrontsTogether},

	{name: "dialogues", kinds: boot.Tool, run: (*checker).checkTools},
	{name: "functions", kinds: boot.Tool, run: (*checker).checkFunctions},
	{name: "unknown wire fields", kinds: boot.Tool, run: (*checker).checkToolFields},
	{name: "end of a call", kinds: boot.Tool, run: (*checker).checkToolEnd},
	{name: "bad arguments", kinds: boot.Tool, crash: "crash-on-bad-arguments", run: (*checker).checkBadArguments},
	{name: "host errors", kinds: boot.Tool, crash: "crash-on-host-error", run: (*checker).checkHostErrors},
	{name: "side by side", kinds: boot.Tool, crash: "crash-under-load", run: (*checker).checkToolsTogether},
	{name: "large bodies", kinds: boot.Tool, crash: "crash-on-large-input", run: (*checker).checkLargeCalls},
	{name: "cancellation", kinds: boot.Tool, crash: "crash-on-cancel", run: (*checker).checkToolsCanceled},

	{name: "dialogues", kinds: boot.Engine, run: (*checker).checkQueries},
	{name: "no SQL", kinds: boot.Engine, crash: "crash-on-bad-sql", run: (*checker).checkNoSQL},
	{name: "side by side", kinds: boot.Engine, crash: "crash-under-load", run: (*checker).checkQueriesTogether},

	{name: "growth", run: (*checker).checkGrowth},
	{name: "interrupt", crash: "sigint-ends-it", run: (*checker).checkInterrupt},
	{name: "shutdown", run: (*checker).checkShutdown},
	{name: "parent dies", run: (*checker).checkParentDies},
	{name: "stdout", run: (*checker).checkStdout},
}

// vital checks end the run when they find something.
var vital = map[string]bool{"describe": true, "start": true}

// basic checks are made in every run: the others use what they learn.
var basic = map[string]bool{"describe": true, "manifest": true, "start": true, "dialogues": true, "surfaces": true}

// Checks are the names of all checks, of whatever kind of plugin, in their
// order.
func Checks() []string {
	var names []string
	for _, k := range checks {
		if !slices.Contains(names, k.name) {
			names = append(names, k.name)
		}
	}
	return names
}

func forKind(kinds, kind string) bool {
	return kinds == "" || kind != "" && strings.Contains(kinds, kind)
}

// hints say for each rule what to do.
var hints = map[string]string{
	"describe-fails":           "`<program> describe` must print one line of JSON and exit with status 0. Look at what it says on stderr; a file that it may not read (\"permission denied\") must be accepted with `--read`, and a module that is not found belongs into the virtual environment beside the plugin.",
	"describe-hangs":           "`describe` must end within 5 seconds: print the manifest before anything is opened, loaded or waited for.",
	"describe-output":          "Print exactly one line of JSON to stdout, at most 1 MiB, and nothing else; everything else goes to stderr.",
	"describe-unstable":        "The manifest is what the operator accepts and the gateway pins: leave out times, random numbers, host names and the order of hash maps.",
	"describe-kind":            "`kind` must be provider, tool or engine, and `protocol` 1.",
	"describe-needs-env":       "`describe` is run without the handshake's variables: look at the argument before you look at the environment.",
	"describe-writes":          "`describe` must not write files: the directory it runs in is not its own.",
	"manifest-name":            "Names consist of a-z 0-9 - _ (a tool's type of a-z 0-9 _), begin with a letter, and have at most 64 characters.",
	"manifest-incomplete":      "Fill in what the manifest of this kind requires: a version at least.",
	"manifest-surface":         "Surfaces, dialects and natives must be as section 1 of sdk/proto/README.md says: the gateway serves them from the manifest alone.",
	"manifest-schema":          "`config` (tool) or `settings` (provider) must be a JSON Schema by itself, with type object and no references to other documents.",
	"runs-without-cookie":      "Without the variable SALLYPORT_PLUGIN a person started the program: say on stderr what it is and exit with a status other than 0.",
	"start-crash":              "The program ended before its handshake. What it wrote to stderr last says why; a library that cannot be found or read must be accepted with `--read`.",
	"handshake-timeout":        "Print the handshake within 10 seconds of the start, as soon as the socket listens; load models and caches afterwards.",
	"stdout-before-handshake":  "Print nothing to stdout before the handshake line: send logs to stderr. In Python pass file=sys.stderr; in Node use console.error.",
	"handshake-format":         "The handshake is one line: 1|1|unix|<path of the socket>|grpc|",
	"socket-outside":           "Make every socket in the directory that PLUGIN_UNIX_SOCKET_DIR names: no other place can be reached.",
	"unhealthy":                "grpc.health.v1.Health/Check for the service \"plugin\" must answer SERVING from the handshake on.",
	"unhealthy-after":          "The health check must be answered within 5 seconds at any time: run it on a thread of its own, and let no call hold a lock for long.",
	"crash":                    "One bad request must not end the process: turn what goes wrong in a call into an error of this call.",
	"settings-refused":         "The plugin refuses the operator's settings, or none at all. It must start without any when its schema requires none.",
	"unknown-setting-accepted": "A typing error in a setting must not go unnoticed: write \"additionalProperties\": false into the schema, or refuse unknown keys in Configure.",
	"unknown-field-refused":    "The protocol grows by new fields: ignore fields, head members and frames you do not know.",

	"dialogue-unreadable": "Mend the file: the format is described at plugintest.Golden, plugintest.Tool and plugintest.Engine.",
	"golden-differs":      "The program answers other than its golden dialogue says. If the new answer is right, run the plugin's own test with -update and review the difference.",
	"begin-fails":         "A plain request must be translated. An error here should be one the caller can act on: code invalid or unsupported, with the field.",
	"no-answer":           "Every call must end: with a result, or with an error.",

	"upstream-credential":  "Leave the credential out: the gateway adds the operator's key by the manifest's `credential`.",
	"upstream-host":        "Give the path relative to the base URL, without scheme and host: the gateway knows them from the operator's configuration.",
	"upstream-path":        "Give a relative path without leading slash, `..` and empty segments, and the query in its own field.",
	"upstream-state":       "The sp1.… envelopes are the gateway's: unwrap those of your own family with the sdk and drop the others.",
	"lost-unlisted":        "What the provider has no place for belongs into Upstream.Lost, by its path in the request; else the caller never learns that it was dropped.",
	"event-grammar":        "Events open and close items and parts in order, with consecutive indexes; provider.Output builds them.",
	"event-after-error":    "Nothing may follow an error.",
	"event-after-terminal": "The terminal event is the last one.",
	"two-terminal-events":  "Send exactly one terminal event: completed, incomplete or failed. A provider may repeat its end mark; do not repeat yours.",
	"no-terminal-event":    "Every reply ends in one terminal event or in an error, also one that is empty, cut, or lacks the provider's own end mark.",
	"error-code":           "What goes wrong with a reply is an upstream_… code: the provider refused, failed, or sent something that cannot be read.",
	"usage-missing":        "The reply names token counts where the manifest's meter says: put them on the terminal event. Cost and limits are reckoned from them.",
	"split-dependent":      "The network splits a reply anywhere, also inside a line or a character: buffer until an event is whole (sdk/sse does).",
	"cut-as-complete":      "A reply that was cut must end in an upstream error, or incomplete: take a reply for whole only after the provider's own end mark.",
	"crash-on-cut-reply":   "Expect the reply to end anywhere; nothing may be indexed or unwrapped before it is known to be there.",
	"crash-on-garbage":     "Providers, and proxies before them, send anything: make of it an upstream_failed error.",
	"garbage-reply":        "What is not understood ends in one upstream_… error, and in nothing before it that claims success.",
	"event-flags":          "Bit 1 of an EVENT frame's flags says that the event carries usage, bit 2 that it is the terminal event: both must be true to the event.",
	"connection-reuse":     "After DONE or ERR read on to UP_EOF, then take the next REQ on the same connection.",
	"frame-too-long":       "Close a connection whose frame claims more than 37748736 bytes, before memory is taken for it.",
	"unknown-frame":        "Close a connection that sends a frame of an unknown type.",
	"token-reuse":          "A token of OpenData is good for one connection: forget it when it was used, and close connections with a wrong one.",
	"data-plane":           "See section 4 of sdk/proto/README.md: OpenData names a socket in PLUGIN_UNIX_SOCKET_DIR, and HELLO is the first frame on it.",
	"crash-on-frames":      "A broken connection costs that connection and nothing else.",
	"slow-reader":          "A reader that is slow blocks its own exchange only, and loses nothing.",

	"asked-op":           "The op that Accept gives is that of the route in the manifest.",
	"asked-stream":       "A route that always streams, or never, has no say of its clients' in it.",
	"asked-request":      "Accept makes an OpenResponses request (op embed: an embed request) that the gateway can read: valid JSON, no member twice, the types of the specification.",
	"accept-code":        "What is wrong with a client's request is code invalid or unsupported; anything else is taken for a fault of the plugin.",
	"accept-field":       "Name the field in the error's param, as the client wrote it, and say what is expected: a person has to find it in a body of a hundred kilobytes.",
	"write-fails":        "What fails after a stream has begun is written into the stream, in its dialect; Write gives an error only where nothing was written and no stream was asked for.",
	"write-splits-event": "Each Write (each OUT frame) holds whole server-sent events, with the empty line behind the last: the gateway may put its own between two.",
	"stream-without-end": "A stream ends in one of its dialect's `ends`, or after an error in one of its `failures`; clients wait, or ask again, when it does not.",
	"stream-malformed":   "Each line is `event:`, `data:`, `id:`, `retry:` or a comment, and data is JSON or the sign of the end: some clients give up at the first line they cannot read.",
	"error-hidden":       "When the events end in an error the client must see one of the dialect's `failures`, or it takes half an answer for a whole one.",
	"success-as-error":   "The events ended well: do not tell the client of a failure.",
	"body-in-pieces":     "Without a stream the reply is one JSON body in one Write.",
	"body-json":          "Without a stream the reply is one JSON body.",
	"error-as-body":      "Without a stream an error is the gateway's to write, with its status: return the error of the events and write nothing.",
	"front-timing":       "Take ids and the time once in a dialogue, not at each event: clients tell replies apart by them.",

	"open-fails":             "A plain declaration must open, or be refused with a code the caller can act on (invalid, denied, unsupported).",
	"function-name":          "Give each function a name, and no two the same.",
	"function-description":   "The model chooses by the description: write a sentence.",
	"function-declaration":   "Function.declaration is the Index of the Declaration the function came from, not its place in the list.",
	"function-state":         "State may have 64 KiB: keep a reference in it and read the rest again.",
	"function-parameters":    "Parameters are a JSON Schema of {\"type\":\"object\"} that stands by itself; models refuse anything else.",
	"open-unstable":          "The same declarations must open to the same functions: the gateway caches them.",
	"host-after-end":         "What the tool may do ends with its last frame: finish Host calls before you return.",
	"bad-arguments":          "Models send wrong arguments every day. Check them, and answer with Result.IsError and a sentence that says what is expected; never let them throw.",
	"bad-arguments-accepted": "The function's own parameters refuse these arguments: so must the call.",
	"crash-on-bad-arguments": "Models send wrong arguments every day: check them before use.",
	"error-without-text":     "An error result needs a text: it is what the model reads.",
	"error-without-code":     "Pass on the Host's error with its code (return it, or wrap it with %w); what fails inside the tool needs a code of sdk/apierror too.",
	"crash-on-host-error":    "Every Host call may fail: look at its error.",
	"unknown-function":       "A call of a function that Open never gave must be an error with a text, not a crash.",
	"result-oversize":        "The gateway shows the model 64 KiB of a result: cut it in the tool, say so with Truncated, and let the model ask for less.",
	"calls-mixed":            "Calls run side by side. Keep everything of a call in local variables, and guard what is shared.",
	"calls-block":            "A call that waits for its Host must not keep the others waiting: no lock across a Host call, and threads enough for 32 calls.",
	"crash-under-load":       "32 calls at once must not end the process: look for unguarded shared state and for limits of memory or files.",
	"large-input":            "4 MiB of arguments or of an answer must lead to a result or to a sensible error; messages of up to 36 MiB must be taken.",
	"crash-on-large-input":   "4 MiB of arguments or of an answer must not end the process.",
	"ignores-cancel":         "Stop within a second when the call is canceled or its connection closed: pass the context on to everything that waits, and look at it in loops.",
	"crash-on-cancel":        "A client that leaves must not end the process.",
	"crash-on-bad-sql":       "Text that is no SQL must not end the process.",
	"engine-columns":         "The first batch has the columns, also without rows, and each row is a JSON array of that many values.",

	"leaks-goroutines":  "These goroutines were still there after their calls: give each an end (its context, a closed channel) and wait for it.",
	"leaks-threads":     "Threads grow with the calls: end them, or use a pool.",
	"leaks-descriptors": "Open files or connections grow with the calls: close each, also when the call fails or is canceled.",
	"leaks-memory":      "Memory grows with the calls and does not come back: look for lists and caches without a bound.",
	"sigint-ends-it":    "Ignore SIGINT: Ctrl-C in the gateway's terminal is meant for the gateway.",
	"ignores-shutdown":  "On plugin.GRPCController/Shutdown stop serving and exit within 2 seconds; the process is killed then.",
	"socket-left":       "Remove sockets and files before exiting.",
	"child-left":        "End every process the plugin started before it exits.",
	"outlives-parent":   "End when the parent is no longer SALLYPORT_HOST_PID: look at it twice a second, or let the kernel tell (PR_SET_PDEATHSIG).",
	"stdout-noise":      "Send logs to stderr. What goes to stdout after the handshake is logged with a warning, and may block a plugin that writes much of it.",
}

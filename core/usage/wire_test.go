package usage

import (
	"encoding/hex"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/sallyport-gateway/sallyport/core/delta"
)

// fullRow has no field that is zero.
func fullRow(t testing.TB) *row {
	t.Helper()
	r := sampleRow()
	r.WorkspaceID, r.EndpointID, r.ServiceID, r.ErrorCode, r.ServiceType, r.ServiceName = "w", "e", "s", "x", MCPService, "c.s.n"
	r.EndpointMetadata = &endpointMetadata{InferenceTable: "c.s.p"}
	r.EndpointTags, r.ServiceTags = map[string]string{"a": "b"}, map[string]string{"": "empty key", "c": ""}
	r.InvocationMetadata = &invocation{"api", "flex"}
	r.MCP = &mcp{"tools/call", "f", "mcp", "codex"}
	r.LostFields = []string{"temperature", "", "top_p"}
	r.AttemptCosts = []attemptCost{{"a", "m", 1, 2, new(delta.Unscaled(3))}, {"b", "n", 4, 5, nil}}
	r.EventDate = -1
	for v, i := reflect.ValueOf(r).Elem(), 0; i < v.NumField(); i++ {
		if v.Field(i).IsZero() {
			t.Errorf("%s is zero", v.Type().Field(i).Name)
		}
	}
	return r
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	for name, r := range map[string]*row{"full": fullRow(t), "sample": sampleRow(), "tool": toolRow(), "begun": begunRow()} {
		got, err := decodeRow(r.appendTo(nil))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		want := *r // an empty list is no longer null
		if want.LostFields == nil {
			want.LostFields = noTexts
		}
		if want.Routing != nil && want.Routing.Attempts == nil {
			want.Routing = &routing{noAttempts}
		}
		if !reflect.DeepEqual(got, &want) {
			t.Errorf("%s: %+v, want %+v", name, got, &want)
		}
	}
}

func toolRow() *row {
	s := sampleStart()
	s.Service = &Service{Type: HostedTool, Name: "table", ToolType: "table", Function: "query"}
	return rowOf(s, Outcome{Status: Completed})
}

func begunRow() *row {
	r, s := new(draft), sampleStart()
	r.begin(&s, &Config{}, "id")
	return &r.row
}

// TestEmptyRow: a body without a field is a row, and its lists are not null.
func TestEmptyRow(t *testing.T) {
	t.Parallel()
	r, err := decodeRow(nil)
	if err != nil || r.RequestTags == nil || r.RequesterGroups == nil || r.LostFields == nil || r.InputTokens != nil {
		t.Errorf("%+v, %v", r, err)
	}
	p, err := decodePayload(nil)
	if err != nil || p.RequestTags == nil || p.LoggingErrors == nil {
		t.Errorf("%+v, %v", p, err)
	}
}

func appendInteger(b []byte, n protowire.Number, i int64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, n, protowire.VarintType), uint64(i))
}

// TestUnknownFields: what a newer program has added, at any depth, is passed
// over.
func TestUnknownFields(t *testing.T) {
	t.Parallel()
	add := func(b []byte) []byte {
		b = protowire.AppendVarint(protowire.AppendTag(b, 4711, protowire.VarintType), 7)
		b = appendText(b, 150, "new")
		b = protowire.AppendFixed32(protowire.AppendTag(b, 151, protowire.Fixed32Type), 7)
		b = protowire.AppendFixed64(protowire.AppendTag(b, 152, protowire.Fixed64Type), 7)
		b = protowire.AppendTag(b, 153, protowire.StartGroupType)
		b = appendText(b, 1, "in a group")
		return protowire.AppendTag(b, 153, protowire.EndGroupType)
	}
	body := add(nil)
	body = appendText(body, 6, "model")
	body = protowire.AppendBytes(protowire.AppendTag(body, 24, protowire.BytesType), appendInteger(add(nil), 1, 5))
	body = protowire.AppendBytes(protowire.AppendTag(body, 20, protowire.BytesType), appendText(appendText(add(nil), 1, "k"), 2, "v"))
	body = add(body)
	r, err := decodeRow(body)
	if err != nil {
		t.Fatal(err)
	}
	if r.EndpointName != "model" || r.TokenDetails == nil || r.TokenDetails.CacheRead != 5 || r.RequestTags["k"] != "v" {
		t.Errorf("%+v", r)
	}
}

func TestBrokenBody(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		body []byte
		want string
	}{
		{"a number where text should be", appendInteger(nil, 6, 1), "field 6: has another wire type"},
		{"text where a number should be", appendText(nil, 21, "x"), "field 21: has another wire type"},
		{"a number that does not fit", appendInteger(nil, 19, 1<<40), "field 19: 1099511627776 is too large"},
		{"cut in a text", appendText(nil, 6, "model")[:4], "field 6: unexpected EOF"},
		{"cut in a tag", []byte{0x80}, "unexpected EOF"},
		{"a length that is too large", append(protowire.AppendTag(nil, 6, protowire.BytesType), 0xff, 0xff, 0xff, 0xff, 0x7f), "field 6: unexpected EOF"},
		{"a broken struct", protowire.AppendBytes(protowire.AppendTag(nil, 24, protowire.BytesType), []byte{0x80}), "field 24: unexpected EOF"},
		{"a broken pair", protowire.AppendBytes(protowire.AppendTag(nil, 20, protowire.BytesType), []byte{0x0a, 0x05}), "field 20: unexpected EOF"},
	}
	for _, tt := range tests {
		_, err := decodeRow(tt.body)
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || err.Error() != tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

var update = flag.Bool("update", false, "write testdata of the current version anew")

// TestOlderBodies: the rows that every version so far has written are read as
// they were meant. A file is written once, when its version is; never change
// one of an older version.
func TestOlderBodies(t *testing.T) {
	t.Parallel()
	const dir = "testdata"
	first := fullRow(t) // of a program that did not know the newer fields
	first.SchemaVersion, first.Operation, first.CodingToolMode, first.TurnID = 1, "", "", ""
	tests := []struct {
		file string
		want *row
	}{
		{"usage-1.hex", first},
		{"usage-2.hex", fullRow(t)},
	}
	if *update {
		r := fullRow(t)
		r.RequestTags = map[string]string{"team": "search"} // one, for the order of a map is not kept
		r.ServiceTags = map[string]string{"c": ""}
		if err := os.WriteFile(filepath.Join(dir, "usage-2.hex"), []byte(hex.Dump(r.appendTo(nil))), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range tests {
		tt.want.RequestTags, tt.want.ServiceTags = map[string]string{"team": "search"}, map[string]string{"c": ""}
		got, err := decodeRow(undump(t, filepath.Join(dir, tt.file)))
		if err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: %+v, %v, want %+v", tt.file, got, err, tt.want)
		}
	}
}

// undump reads what hex.Dump has written.
func undump(t *testing.T, file string) []byte {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var b []byte
	for line := range strings.Lines(string(text)) {
		line, _, _ = strings.Cut(line, "|")
		_, line, _ = strings.Cut(line, " ")
		x, err := hex.DecodeString(strings.Join(strings.Fields(line), ""))
		if err != nil {
			t.Fatal(err)
		}
		b = append(b, x...)
	}
	return b
}

// FuzzDecode: no body makes Decode panic, and what it takes is written again
// to the same row.
func FuzzDecode(f *testing.F) {
	f.Add(sampleRow().appendTo(nil))
	f.Add(toolRow().appendTo(nil))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		decodePayload(b)
		r, err := decodeRow(b)
		if err != nil {
			return
		}
		again, err := decodeRow(r.appendTo(nil))
		if err != nil || !reflect.DeepEqual(again, r) {
			t.Errorf("%x: %+v, then %+v, %v", b, r, again, err)
		}
	})
}

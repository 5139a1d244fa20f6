package upstream

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math"
)

// smallVector is how long vectors are when nobody says.
const smallVector = 8

// Vector is what the providers here make of a text: the same text gives the
// same vector, of length 1. A size of 0 means 8.
func Vector(text string, size int) []float32 {
	if size == 0 {
		size = smallVector
	}
	v := make([]float32, size)
	var sum float64
	for i := range v {
		h := sha256.Sum256(fmt.Appendf(nil, "%d %s", i, text))
		v[i] = float32(binary.BigEndian.Uint32(h[:]))/math.MaxUint32 - 0.5
		sum += float64(v[i]) * float64(v[i])
	}
	for i := range v {
		v[i] = float32(float64(v[i]) / math.Sqrt(sum))
	}
	return v
}

var embedRequest = fields(map[string]*shape{"model": text, "input": either(text, list(text)), "dimensions": number,
	"encoding_format": oneOf("float", "base64"), "user": text}, "model", "input")

// embeds checks a request for OpenAI's embeddings.
func embeds(o object) (*query, *refusal) {
	if w := embedRequest.check(o); w != nil {
		return nil, openaiWrong(w)
	}
	in := embedInput(o)
	if len(in) == 0 || len(in) > 2048 {
		return nil, &refusal{status: 400, param: "input", message: "Invalid 'input': expected an array of 1 to 2048 strings."}
	}
	for _, s := range in {
		if s == "" {
			return nil, &refusal{status: 400, param: "input", message: "'$.input' is invalid. Please check the API reference: https://platform.openai.com/docs/api-reference."}
		}
	}
	return &query{op: embed, body: o, model: str(o, "model")}, nil
}

func embedInput(o object) []string {
	if s, ok := o["input"].(string); ok {
		return []string{s}
	}
	var in []string
	all, _ := o["input"].([]any)
	for _, v := range all {
		s, _ := v.(string)
		in = append(in, s)
	}
	return in
}

func (openai) counted(int) string { return "" } // it has no such thing

func (openai) embedded(q *query) string {
	size, _ := integer(q.body, "dimensions")
	var data []any
	tokens := 0
	for i, s := range embedInput(q.body) {
		tokens += len(s)/4 + 1
		v := Vector(s, int(size))
		var shown any = v
		if str(q.body, "encoding_format") == "base64" {
			var b []byte
			for _, f := range v {
				b = binary.LittleEndian.AppendUint32(b, math.Float32bits(f))
			}
			shown = base64.StdEncoding.EncodeToString(b)
		}
		data = append(data, object{"object": "embedding", "index": i, "embedding": shown})
	}
	return encode(object{"object": "list", "data": data, "model": q.model, "usage": object{"prompt_tokens": tokens, "total_tokens": tokens}})
}

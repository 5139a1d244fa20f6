package main

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"github.com/sallyport-gateway/sallyport/sdk/apierror"
	or "github.com/sallyport-gateway/sallyport/sdk/openresponses"
)

// config reads generationConfig.
func (r *reader) config(p place) error {
	q := r.request
	var mime string
	var schema json.RawMessage
	err := each(p, func(p place) (err error) {
		switch p.name {
		case "temperature":
			q.Temperature, err = p.number()
		case "topP":
			q.TopP, err = p.number()
		case "topK":
			var k *int64
			if k, err = p.whole(1); err == nil {
				q.Extra = append(q.Extra, or.Member{Name: "top_k", Value: strconv.AppendInt(nil, *k, 10)})
			}
		case "maxOutputTokens":
			q.MaxOutputTokens, err = p.whole(1)
		case "presencePenalty":
			q.PresencePenalty, err = p.number()
		case "frequencyPenalty":
			q.FrequencyPenalty, err = p.number()
		case "stopSequences":
			q.Stop, err = p.texts()
		case "responseMimeType":
			mime, err = p.text()
		case "responseSchema":
			schema, err = jsonSchema(p)
		case "responseJsonSchema":
			schema, err = p.schema()
		case "thinkingConfig":
			err = r.thinking(p)
		case "candidateCount":
			var n *int64
			if n, err = p.whole(1); err == nil && *n > 1 {
				err = apierror.At(apierror.Unsupported, p.at, "%s must be 1: this model gives one answer. Ask several times for several answers.", p.at)
			}
		case "responseModalities":
			var kinds []string
			kinds, err = p.texts()
			if err == nil && len(kinds) > 0 && !slices.ContainsFunc(kinds, func(k string) bool { return strings.EqualFold(k, "text") }) {
				err = apierror.At(apierror.Unsupported, p.at, "%s asks for %s, and the model that would answer writes text only. Choose a model of Gemini for it.", p.at, strings.Join(kinds, ", "))
			} else if len(kinds) > 1 {
				r.lost.Add("%s", p.at)
			}
		default: // seed, logprobs, speechConfig, mediaResolution and what is to come
			r.lost.Add("%s", p.at)
		}
		return err
	})
	if err != nil {
		return err
	}
	return r.format(p, mime, schema)
}

// format says what form the answer has.
func (r *reader) format(p place, mime string, schema json.RawMessage) error {
	var f json.RawMessage
	switch {
	case mime == "" && schema == nil, mime == "text/plain":
		return nil
	case mime != "application/json" && mime != "":
		r.lost.Add("%s.responseMimeType", p.at) // text/x.enum, which is for Google's models only
		return nil
	case schema == nil:
		f = json.RawMessage(`{"type":"json_object"}`)
	default:
		f = append(append([]byte(`{"type":"json_schema","name":"response","schema":`), schema...), '}')
	}
	r.request.Text = &or.TextOptions{Format: f}
	return nil
}

// thinking reads how much the model may think: the effort whose budget is the
// nearest (see budgets, which the translator gives for an effort).
func (r *reader) thinking(p place) error {
	want := &or.Reasoning{}
	err := each(p, func(p place) error {
		switch p.name {
		case "includeThoughts":
			show, err := p.truth()
			if show {
				want.Summary = "auto"
			}
			return err
		case "thinkingBudget":
			n, err := p.whole(-1)
			if err != nil {
				return err
			}
			own, _ := json.Marshal(ownMembers{n}) // a number cannot fail
			r.request.Extra = append(r.request.Extra, or.Member{Name: dialect, Value: own})
			switch {
			case *n < 0: // as much as it likes
			case *n == 0:
				want.Effort = "none"
			case *n <= 1024:
				want.Effort = "low"
			case *n <= 8192:
				want.Effort = "medium"
			case *n <= 24576:
				want.Effort = "high"
			default:
				want.Effort = "xhigh"
			}
		case "thinkingLevel":
			level, err := p.text()
			if err != nil {
				return err
			}
			switch level = strings.ToLower(level); level {
			case "minimal", "low", "medium", "high":
				want.Effort = level
			case "thinking_level_unspecified":
			default:
				return apierror.At(apierror.Invalid, p.at, "%s must be MINIMAL, LOW, MEDIUM or HIGH.", p.at)
			}
		default:
			r.lost.Add("%s", p.at)
		}
		return nil
	})
	if *want != (or.Reasoning{}) {
		r.request.Reasoning = want
	}
	return err
}

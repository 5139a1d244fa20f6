package router

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sallyport-gateway/sallyport/core/access"
	"github.com/sallyport-gateway/sallyport/core/spelling"
	"github.com/sallyport-gateway/sallyport/sdk/apierror"
)

// schema is where every model lives.
const schema = "system.ai."

// scopes of a token, any of which is enough to call models.
var scopes = []string{access.ScopeAIGateway, access.ScopeModelServing}

// canonical is the form in which names are compared: lower case, without the
// schema in front, without the suffix by which coding agents ask for a long
// context.
func canonical(name string) string {
	name = strings.ToLower(strings.TrimSpace(name))
	name = strings.TrimPrefix(name, schema)
	return strings.TrimSuffix(name, "[1m]")
}

// Canonical is the form in which names of models are compared, for those who
// have names of their own for them.
func Canonical(name string) string { return canonical(name) }

// Match reports whether name, in canonical form, matches pattern, in which *
// stands for any text.
func Match(pattern, name string) bool { return match(pattern, name) }

// pattern is an alias with a star in it.
type pattern struct {
	text  string
	model *model
}

// find returns the model that answers to name, nil if none does: by its own
// name, then by a plain alias, then by the longest pattern that matches.
func (r *Router) find(name string) *model {
	if m := r.names[name]; m != nil {
		return m
	}
	for _, p := range r.patterns {
		if match(p.text, name) {
			return p.model
		}
	}
	return nil
}

// match reports whether name matches pattern, in which * stands for any text.
func match(pattern, name string) bool {
	first, rest, star := strings.Cut(pattern, "*")
	if !star {
		return pattern == name
	}
	if !strings.HasPrefix(name, first) {
		return false
	}
	name = name[len(first):]
	for {
		part, more, star := strings.Cut(rest, "*")
		if !star {
			return strings.HasSuffix(name, part)
		}
		i := strings.Index(name, part)
		if i < 0 {
			return false
		}
		name, rest = name[i+len(part):], more
	}
}

// Check decides whether p may call the model, before anything else is done for
// the request. Errors are apierror.Invalid for no name, Denied, and NotFound
// for administrators, who may know what exists; for others a model that does
// not exist and one they may not use read the same.
func (r *Router) Check(p *access.Principal, model string) error {
	_, err := r.admit(p, model)
	return err
}

func (r *Router) admit(p *access.Principal, name string) (*model, error) {
	if p == nil || !slices.ContainsFunc(scopes, p.HasScope) {
		if err := r.acc.CheckScope(p, scopes[0]); err != nil {
			return nil, err
		}
	}
	asked := canonical(name)
	if asked == "" {
		return nil, apierror.At(apierror.Invalid, "model", "The request names no model. Set `model` to one of the models you may use%s.", r.some(p))
	}
	if m := r.find(asked); m != nil && r.acc.Allowed(p, access.Execute, m.object) {
		return m, nil
	}
	// The answer names what was asked for, never what an alias stands for: an
	// alias of a hidden model must read like a name nobody has.
	err := r.acc.Check(p, access.Execute, access.Securable{Kind: access.Model, Name: schema + asked})
	if e, ok := errors.AsType[*apierror.Error](err); err == nil || ok && e.Code == apierror.NotFound { // a right on the whole schema covers names that do not exist
		err = apierror.At(apierror.NotFound, "model", "There is no model %s.", strings.TrimSpace(name))
	}
	return nil, r.suggest(p, asked, err)
}

// suggest adds the nearest name that p may use to a refusal, or a few that are
// not near.
func (r *Router) suggest(p *access.Principal, asked string, err error) error {
	e, ok := errors.AsType[*apierror.Error](err)
	if !ok {
		return err
	}
	usable := make([]string, 0, len(r.models))
	for _, m := range r.models {
		if r.acc.Allowed(p, access.Execute, m.object) {
			usable = append(usable, m.name)
		}
	}
	out := *e
	out.Param = "model"
	if strings.Contains(out.Message, "Did you mean") {
		return &out
	}
	if near := hint(asked, usable); near != "" {
		out.Message += near
	} else if len(usable) > 0 {
		out.Message += " You may use " + strings.Join(usable[:min(len(usable), 5)], ", ") + "."
	}
	return &out
}

// some names a few models that p may use.
func (r *Router) some(p *access.Principal) string {
	var names []string
	for _, m := range r.Models(p) {
		if names = append(names, m.Name); len(names) == 5 {
			break
		}
	}
	if len(names) == 0 {
		return ""
	}
	return ", such as " + strings.Join(names, ", ")
}

// hint is " Did you mean …?" when one of names is near to asked, else "".
func hint(asked string, names []string) string {
	if best := spelling.Nearest(asked, names); best != "" {
		return fmt.Sprintf(" Did you mean %q?", best)
	}
	return ""
}

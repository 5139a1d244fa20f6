package ratelimit

import (
	"fmt"
	"strings"
	"time"
)

// rule is a Limit in force, with its counts.
type rule struct {
	Limit
	level   level
	name    string // of Of; of Each the tag
	value   string // of a tag of Of
	bound   bound
	kinds   kinds
	from    time.Time // when it came into force; calls before that are counted by Restore
	known   bool      // Restore has been
	builtin bool      // not of the configuration
	buckets map[owner]*bucket
	sweepAt int           // how many buckets there must be before idle ones are looked for
	swept   time.Duration // when they were last
}

// level is whose calls a rule counts.
type level uint8

const (
	service     level = iota // everybody's
	ofUser                   // one user's
	ofPrincipal              // one service principal's
	ofGroup                  // those of a group's members
	ofTag                    // those with a tag of one value
	eachTag                  // those with a tag, by its value
	eachUser                 // each user's
	eachService              // each service principal's
	eachCaller               // each one's
)

// bucket is one count of a rule.
type bucket struct {
	window
	rule *rule
	name owner // of whose count it is, or a tag's value; zero where there is only one
	open int   // tickets that hold of it
}

// maxBuckets bounds the counts of a rule by a tag's value: values are what
// clients make up. Those beyond share one.
const maxBuckets = 1000

// others is the count that tag values beyond maxBuckets share.
var others = owner{name: "\x00"}

func newRule(l Limit, from time.Time) *rule {
	r := &rule{from: from, buckets: map[owner]*bucket{}}
	r.level, r.name, r.value, _ = l.scope()
	r.set(l)
	return r
}

// set puts other numbers in force.
func (r *rule) set(l Limit) {
	r.Limit = l
	r.bound = bound{span: time.Minute, requests: l.Requests, tokens: l.Tokens}
	if l.Per == "hour" {
		r.bound.span = time.Hour
	}
	r.kinds = kindsOf(l.Count)
}

// scope reads Each and Of.
func (l Limit) scope() (at level, name, value string, ok bool) {
	if l.Each == "" && l.Of == "" {
		return service, "", "", true
	}
	if l.Of == "" {
		switch kind, name, _ := strings.Cut(l.Each, " "); {
		case l.Each == "user":
			return eachUser, "", "", true
		case l.Each == "service_principal":
			return eachService, "", "", true
		case l.Each == "principal":
			return eachCaller, "", "", true
		case kind == "tag" && strings.TrimSpace(name) != "":
			return eachTag, strings.TrimSpace(name), "", true
		}
		return 0, "", "", false
	}
	kind, name, _ := strings.Cut(l.Of, " ")
	if name = strings.TrimSpace(name); name == "" {
		return 0, "", "", false
	}
	switch kind {
	case "user":
		return ofUser, name, "", true
	case "service_principal":
		return ofPrincipal, name, "", true
	case "group":
		return ofGroup, name, "", true
	case "tag":
		name, value, ok := strings.Cut(name, "=")
		return ofTag, strings.TrimSpace(name), strings.TrimSpace(value), ok && strings.TrimSpace(name) != ""
	}
	return 0, "", "", false
}

// key tells rules of one model apart: a limit with the same key takes its
// predecessor's counts over.
func (l Limit) key() string {
	at, name, value, _ := l.scope()
	return fmt.Sprintf("%d %q %q %s %d %t %t", at, name, value, l.Per, kindsOf(l.Count), l.Requests > 0, l.Tokens > 0)
}

// bucket is the count of that name, made if need be.
func (r *rule) bucket(name owner, now time.Duration) *bucket {
	if b := r.buckets[name]; b != nil {
		return b
	}
	full := r.level == eachTag && len(r.buckets) >= maxBuckets
	if len(r.buckets) >= max(r.sweepAt, 64) || full && now >= r.swept+r.bound.span/slotsInSpan {
		r.sweep(now)
		full = full && len(r.buckets) >= maxBuckets
	}
	if full && name != others {
		return r.bucket(others, now)
	}
	name.name = strings.Clone(name.name) // lets go of what it is a part of
	b := &bucket{rule: r, name: name}
	r.buckets[name] = b
	return b
}

// sweep lets go of the counts that are zero and that nobody holds of.
func (r *rule) sweep(now time.Duration) {
	for name, b := range r.buckets {
		if b.advance(now, r.bound); b.idle() && b.open == 0 {
			delete(r.buckets, name)
		}
	}
	r.sweepAt, r.swept = 2*len(r.buckets), now
}

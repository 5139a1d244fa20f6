package openresponses

import (
	"encoding/base64"
	"strings"
)

// OpaqueState is what a provider wants back in the next turn and nobody else
// can read: a signature, encrypted reasoning, native ids. It travels as one
// string in Item.EncryptedContent. A translator sends back only the state of
// its own account and family; to any other provider it means nothing.
type OpaqueState struct {
	Provider string // the account, the key under `providers:`
	Family   string // the dialect: openai, anthropic, gemini
	Data     []byte
}

const opaquePrefix = "sp1."

// String gives "sp1.<provider>.<family>.<base64url>".
func (s OpaqueState) String() string {
	return opaquePrefix + opaqueName(s.Provider) + "." + opaqueName(s.Family) + "." + base64.RawURLEncoding.EncodeToString(s.Data)
}

// opaqueName keeps the dots of a name from being read as separators.
func opaqueName(s string) string {
	if !strings.ContainsAny(s, "%.") {
		return s
	}
	return strings.NewReplacer("%", "%25", ".", "%2E").Replace(s)
}

func unopaqueName(s string) string {
	if !strings.Contains(s, "%") {
		return s
	}
	return strings.NewReplacer("%2E", ".", "%25", "%").Replace(s)
}

// ParseOpaqueState reads that form. It reports false for anything else, such
// as encrypted content that a client got from a provider directly.
func ParseOpaqueState(s string) (OpaqueState, bool) {
	rest, ok := strings.CutPrefix(s, opaquePrefix)
	if !ok {
		return OpaqueState{}, false
	}
	provider, rest, ok := strings.Cut(rest, ".")
	if !ok {
		return OpaqueState{}, false
	}
	family, data, ok := strings.Cut(rest, ".")
	if !ok || provider == "" || family == "" {
		return OpaqueState{}, false
	}
	b, err := base64.RawURLEncoding.DecodeString(data)
	if err != nil {
		return OpaqueState{}, false
	}
	return OpaqueState{Provider: unopaqueName(provider), Family: unopaqueName(family), Data: b}, true
}

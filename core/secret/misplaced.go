package secret

import (
	"errors"
	"regexp"
	"strings"
)

// hiddenName stands in messages for a name that may be a secret itself.
const hiddenName = "(its name looks like a secret and is not shown; the secret itself must not stand there)"

var errVariable = errors.New("secret: the name of the environment variable is not a name; a secret itself must not stand here, only the name of the variable that holds it")

var variable = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// isVariable reports whether name can be that of an environment variable.
func isVariable(name string) bool { return variable.MatchString(name) }

// likeKey guesses whether name is a key of some service: long, with digits
// among lower-case letters. Names of variables and files seldom are so.
func likeKey(name string) bool {
	const long = 16
	digits := strings.IndexFunc(name, func(c rune) bool { return c >= '0' && c <= '9' }) >= 0
	lower := strings.IndexFunc(name, func(c rune) bool { return c >= 'a' && c <= 'z' }) >= 0
	return strings.HasPrefix(name, "sk-") || len(name) >= long && digits && lower
}

var userinfo = regexp.MustCompile(`([A-Za-z][A-Za-z0-9+.-]*://)[^/\s?#"']*@`)

// RedactURLs masks user names and passwords in the URLs of a text.
func RedactURLs(text string) string { return userinfo.ReplaceAllString(text, "${1}"+Mask+"@") }

package client

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Plan is what a setup writes, and what it leaves to the user.
type Plan struct {
	Files []File
	// Notes are for the user: what was not written and what to do about it.
	Notes []string
	// Manual plans are of no effect before the user has done what Notes say.
	Manual bool
	// Try is a first command, "" for none.
	Try string
}

// File is one file of a plan.
type File struct {
	Path   string
	Format string // a key of formats; "" for a file that is written whole
	Edits  []Edit
	Text   string // the whole file, when Format is ""
	Secret bool   // only its owner may read it
}

// Setup asks for a plan.
type Setup struct {
	Agent   Agent
	Gateway Gateway
	Place   Place
	Project bool   // write the project's file, which others share, in place of the user's
	Profile string // write a profile of that name; only Codex has them
	// TrustFolders switches off that the agent asks whether to trust a folder;
	// only Gemini CLI is known to read its files in trusted folders alone.
	TrustFolders bool
}

// Plan says what is to be written. It reads files and may ask the client its
// version, and changes nothing.
func (s Setup) Plan() (Plan, error) {
	if err := s.Gateway.check(); err != nil {
		return Plan{}, err
	}
	if s.Profile != "" {
		if s.Agent.Name != "codex" {
			return Plan{}, fmt.Errorf("%s has no profiles: leave out --profile", s.Agent.Title)
		}
		if !bareKey.MatchString(s.Profile) {
			return Plan{}, fmt.Errorf("the profile %q is not made of letters, digits, - and _", s.Profile)
		}
	}
	if s.TrustFolders && (s.Agent.Name != "gemini" || s.Project) {
		return Plan{}, errors.New("--trust-folders is for the user's own settings of Gemini CLI: leave it out")
	}
	if s.Project && s.Gateway.Token.Text != "" {
		s.Gateway.Token = Token{} // what others share holds no token
	}
	return s.Agent.setup(&session{agent: s.Agent, gateway: s.Gateway, place: s.Place, project: s.Project, profile: s.Profile, trust: s.TrustFolders})
}

// tokenFile is where the agent's token is kept when it is given as text.
func (s *session) tokenFile() string {
	return filepath.Join(recordDir(s.place, s.agent, s.project), "token")
}

// helper is the command line by which a client gets the token, the file to
// write for it, if any, and its words. The words are nil for a user's own
// command, which is for a shell.
func (s *session) helper() (line string, words []string, files []File) {
	t := s.gateway.Token
	switch {
	case s.project:
		words = []string{"sallyport", "token"}
	case t.Command != "":
		return t.Command, nil, nil
	case t.File != "":
		words = []string{s.place.Program, "token", "--file", t.File}
	case t.Text != "":
		words = []string{s.place.Program, "token", "--file", s.tokenFile()}
		files = []File{{Path: s.tokenFile(), Text: t.Text + "\n", Secret: true}}
	default:
		words = []string{s.place.Program, "token"}
	}
	quoted := make([]string, len(words))
	for i, w := range words {
		if s.place.OS == "windows" {
			w = filepath.ToSlash(w) // the helper's shell may be bash
		}
		quoted[i] = s.place.quote(w)
	}
	return strings.Join(quoted, " "), words, files
}

// text is the token itself, for clients that take no helper. It is "" when
// only the user's environment or own command has it.
func (t Token) text() (string, error) {
	if t.File == "" {
		return t.Text, nil
	}
	return ReadToken(t.File)
}

// ReadToken reads a file that holds a token and nothing else.
func ReadToken(path string) (string, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	t := strings.TrimSpace(string(b))
	if err := checkName("token", t); err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	return t, nil
}

// result is a file before and after.
type result struct {
	file    File
	path    string // the file itself, where Path is a link
	before  []byte // nil when there is none
	after   []byte
	mode    fs.FileMode // after
	was     fs.FileMode // before
	changes []Change
}

// maxLinks is how many links of one path are followed, as by Linux.
const maxLinks = 40

// follow is where a file is, or, when links lead to what is not there, where
// writing through them would make it.
func follow(path string, links int) string {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		return target
	}
	dir := filepath.Dir(path)
	if dir == path || links > maxLinks {
		return path
	}
	dir = follow(dir, links)
	target, err := os.Readlink(path)
	switch {
	case err != nil:
		return filepath.Join(dir, filepath.Base(path))
	case !filepath.IsAbs(target):
		target = filepath.Join(dir, target)
	}
	return follow(target, links+1)
}

// maxFile is the most bytes of a client's file that are looked into.
const maxFile = 4 << 20

// readFile is the text of a file, nil when there is none.
func readFile(path string) (real string, text []byte, mode fs.FileMode, err error) {
	real = follow(path, 0)
	info, err := os.Stat(real)
	if errors.Is(err, fs.ErrNotExist) {
		return real, nil, 0, nil
	}
	if err != nil {
		return real, nil, 0, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxFile {
		return real, nil, 0, fmt.Errorf("%s is no file of at most %d MiB", path, maxFile>>20)
	}
	text, err = os.ReadFile(real)
	if text == nil {
		text = []byte{}
	}
	return real, text, info.Mode().Perm(), err
}

// make applies the file's edits to before, the text that is there.
func (f File) make(before []byte) ([]byte, []Change, error) {
	if f.Format == "" {
		return []byte(f.Text), nil, nil
	}
	after, changes, err := apply(formats[f.Format], before, f.Edits)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", f.Path, err)
	}
	return after, changes, nil
}

// Preview prints what the plan would change, with the token left out.
func (s Setup) Preview(w io.Writer, p Plan) error {
	results, _, err := s.results(p)
	if err != nil {
		return err
	}
	secret, err := s.Gateway.Token.text()
	if err != nil {
		return err
	}
	hide := func(b []byte) string {
		if secret == "" {
			return string(b)
		}
		return string(bytes.ReplaceAll(b, []byte(secret), []byte("***")))
	}
	for _, r := range results {
		writeDiff(w, r.file.Path, r.before != nil, hide(r.before), hide(r.after))
		if r.before != nil && r.was != r.mode {
			fmt.Fprintf(w, "# mode %04o becomes %04o\n", r.was, r.mode)
		}
	}
	return nil
}

package sandbox

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sallyport-gateway/sallyport/sandbox/internal/manifest"
	"github.com/sallyport-gateway/sallyport/sandbox/internal/wire"
)

// Installed are the languages whose guest is in dir with all its files, which
// are not looked into; an error is ErrNoGuests.
func Installed(dir string) ([]Language, error) {
	whole, _, err := examine(dir, func(name, _ string) error {
		_, err := os.Stat(filepath.Join(dir, name))
		return err
	})
	return whole, err
}

// Verify reads all files of the guests in dir, some 60 MB, and compares them
// with what the manifest says. whole are the languages whose files are right,
// broken tells of each of the others what is wrong. It is what New looks at; an
// error is ErrNoGuests, and says that none is whole.
func Verify(dir string) (whole []Language, broken map[Language]error, err error) {
	seen := map[string]error{} // guests have files in common
	return examine(dir, func(name, sum string) error {
		key := name + " " + sum
		err, ok := seen[key]
		if !ok {
			err = manifest.Check(dir, name, sum)
			seen[key] = err
		}
		return err
	})
}

// Compiled looks at the machine code of the guests in a directory like
// Config.Cache. An error says that workers have to compile the guests: the
// first, or, where they may not write there, each.
func Compiled(guests, cache string) error { return manifest.Compiled(guests, cache) }

// examine has check look at each file of the guests in dir, with the hash that
// the manifest says.
func examine(dir string, check func(name, sum string) error) (whole []Language, broken map[Language]error, err error) {
	m, err := manifest.Read(dir)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w; `make build` makes the guests", ErrNoGuests, err)
	}
	broken = map[Language]error{}
	for _, g := range m.Guests {
		errs := []error{check(g.Module, g.ModuleSHA256), check(g.Image, g.ImageSHA256)}
		for _, f := range g.Files {
			errs = append(errs, check(f.File, f.SHA256))
		}
		if err := errors.Join(errs...); err != nil {
			broken[Language(g.Language)] = err
		} else {
			whole = append(whole, Language(g.Language))
		}
	}
	if len(whole) == 0 {
		return nil, broken, fmt.Errorf("%w: %s has no whole guest: %s; `make build` makes the guests", ErrNoGuests, dir, cmp.Or(tell(broken), "its manifest lists none"))
	}
	return whole, broken, nil
}

// tell says what is broken, in a line.
func tell(broken map[Language]error) string {
	var all []string
	for _, l := range slices.Sorted(maps.Keys(broken)) {
		all = append(all, fmt.Sprintf("%s: %v", l, broken[l]))
	}
	return strings.ReplaceAll(strings.Join(all, "; "), "\n", ", ")
}

// Languages are those whose guest works, as far as is known: New has verified
// their files, and the worker that was started last has loaded them.
func (b *Sandbox) Languages() []Language {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(b.languages), func(l Language) bool { return b.broken[l] != nil })
}

// Broken are the languages whose guest is there and of no use, with the reason
// of each.
func (b *Sandbox) Broken() map[Language]error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return maps.Clone(b.broken)
}

// learn notes which guests a new worker could load. b.mu is held.
func (b *Sandbox) learn(m wire.Ready) {
	for _, l := range b.languages {
		var why error
		if !slices.Contains(m.Languages, string(l)) {
			i := slices.IndexFunc(m.Broken, func(g wire.Broken) bool { return g.Language == string(l) })
			if i < 0 {
				why = errors.New("a worker did not load it")
			} else {
				why = errors.New(clip([]byte(m.Broken[i].Why)))
			}
		}
		switch was := b.broken[l]; {
		case why == nil && was != nil:
			b.log.Info("code execution: a guest works again", "language", l)
			delete(b.broken, l)
		case why != nil && (was == nil || was.Error() != why.Error()):
			b.log.Error("code execution: a guest is of no use, and models are not offered its language", "language", l, "cause", why)
			b.broken[l] = why
		}
	}
}

// refuse says why l cannot be run, nil if it can. b.mu is held.
func (b *Sandbox) refuse(l Language) error {
	switch why := b.broken[l]; {
	case why != nil:
		return fmt.Errorf("sandbox: the guest for %q is of no use: %w: %w", l, ErrNoGuests, why)
	case !slices.Contains(b.languages, l):
		return fmt.Errorf("sandbox: there is no guest for %q: %w", l, ErrNoGuests)
	}
	return nil
}

package python

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/sallyport-gateway/sallyport/sandbox/guests/fetch"
)

// A tarball is the unchanged release of a project, as a Debian source package
// carries it.
type tarball struct {
	name, version, licence string
	pkg, file              string // Debian's names for the package and the file
	sha256                 string
	dir                    string // what it unpacks to
}

var (
	cpython = tarball{
		name: "CPython", version: "3.13.5", licence: "PSF-2.0",
		pkg: "python3.13", file: "python3.13_3.13.5.orig.tar.xz", dir: "Python-3.13.5",
		sha256: "93e583f243454e6e9e4588ca2c2662206ad961659863277afcdb96801647d640",
	}
	zlib = tarball{
		name: "zlib", version: "1.3.1", licence: "Zlib",
		pkg: "zlib", file: "zlib_1.3.dfsg+really1.3.1.orig.tar.gz", dir: "zlib-1.3.1",
		sha256: "60dd315c07f616887caa029408308a018ace66e3d142726a97db164b3b8f69fb",
	}
)

// suite is the Debian release that has these tarballs. It is stable, so they
// stay for its life; SourcesVar is for the time after it, and for machines
// without apt.
const suite = "trixie"

// SourcesVar names the environment variable with a directory of tarballs that
// is looked at before apt is asked. The hashes hold for it too.
const SourcesVar = "SALLYPORT_SOURCES"

// unpacked returns a directory of the cache in which the tarballs are
// unpacked.
func unpacked(ctx context.Context, list ...tarball) (string, error) {
	key := "sources"
	for _, t := range list {
		key += "-" + t.sha256[:16]
	}
	return fetch.Once(ctx, key, func(dir string) error {
		from := os.Getenv(SourcesVar)
		if from == "" {
			tmp, err := os.MkdirTemp("", "sallyport-apt-")
			if err != nil {
				return err
			}
			defer os.RemoveAll(tmp)
			if err := download(ctx, tmp, list); err != nil {
				return err
			}
			from = tmp
		}
		for _, t := range list {
			file := filepath.Join(from, t.file)
			if err := check(file, t.sha256); err != nil {
				return err
			}
			// The program tar: the standard library has no xz.
			cmd := exec.CommandContext(ctx, "tar", "-xf", file, "-C", dir)
			if out, err := cmd.CombinedOutput(); err != nil {
				return &fetch.Missing{
					What:    fmt.Sprintf("unpack %s: %v: %s", t.file, err, tail(out)),
					Install: "install tar and xz-utils",
				}
			}
		}
		return nil
	})
}

// download asks apt for the tarballs, into dir. It uses lists of its own below
// dir, so that it needs no rights and changes nothing of the machine's.
func download(ctx context.Context, dir string, list []tarball) error {
	missing := func(what string) error {
		return &fetch.Missing{
			What:    fmt.Sprintf("no sources of CPython: %s", what),
			Install: fmt.Sprintf("build on Debian, or put %s and %s into a directory and set %s to it", cpython.file, zlib.file, SourcesVar),
		}
	}
	if _, err := exec.LookPath("apt-get"); err != nil {
		return missing("there is no apt-get")
	}
	mirror, err := debianMirror(ctx)
	if err != nil {
		return missing(err.Error())
	}
	// apt's signatures are used where its keys are; what holds in any case is
	// the hash of the tarball.
	option := "[trusted=yes]"
	const keys = "/usr/share/keyrings/debian-archive-keyring.gpg"
	if _, err := os.Stat(keys); err == nil {
		option = "[signed-by=" + keys + "]"
	}
	for _, sub := range []string{"lists/partial", "cache/archives/partial"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			return err
		}
	}
	files := map[string]string{
		"sources.list": fmt.Sprintf("deb-src %s %s %s main\n", option, mirror, suite),
		"apt.conf": fmt.Sprintf("Dir::State::lists %q;\nDir::Cache %q;\nDir::Etc::sourcelist %q;\nDir::Etc::sourceparts \"-\";\nAPT::Sandbox::User \"\";\n",
			filepath.Join(dir, "lists"), filepath.Join(dir, "cache"), filepath.Join(dir, "sources.list")),
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	get := []string{"source", "--download-only", "--only-source"}
	for _, t := range list {
		get = append(get, t.pkg)
	}
	for _, args := range [][]string{{"update"}, get} {
		cmd := exec.CommandContext(ctx, "apt-get", args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "APT_CONFIG="+filepath.Join(dir, "apt.conf"))
		if out, err := cmd.CombinedOutput(); err != nil {
			return missing(fmt.Sprintf("apt-get %s: %v: %s", args[0], err, tail(out)))
		}
	}
	return nil
}

// debianMirror is the address of the Debian archive that this machine is set
// up to use.
func debianMirror(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "apt-get", "indextargets", "--format", "$(REPO_URI)").Output()
	if err != nil {
		return "", fmt.Errorf("apt-get indextargets: %w", err)
	}
	for _, uri := range strings.Fields(string(out)) {
		if strings.HasSuffix(strings.TrimRight(uri, "/"), "/debian") {
			return uri, nil
		}
	}
	return "", fmt.Errorf("apt has no mirror of Debian")
}

func check(file, want string) error {
	f, err := os.Open(file)
	if err != nil {
		return fmt.Errorf("the sources: %w", err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return fmt.Errorf("the sources: %w", err)
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != want {
		return fmt.Errorf("%s has the hash %s, not %s: it is another file than the one that was reviewed", filepath.Base(file), got, want)
	}
	return nil
}

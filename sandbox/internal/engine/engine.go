// Package engine runs guests: pinned WebAssembly modules that interpret the
// programs of a model. It compiles them once, and starts an instance from a
// snapshot of its memory in a fraction of a millisecond.
//
// One goroutine owns an instance: it alone calls it, and it alone releases its
// memory, after its last call returned. Everybody else sets flags.
package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/tetratelabs/wazero"

	"github.com/sallyport-gateway/sallyport/sandbox/internal/manifest"
	"github.com/sallyport-gateway/sallyport/sandbox/internal/wasi"
)

// Options of Load.
type Options struct {
	Cache string   // directory of compiled guests that nobody else may write to, made 0700 if missing; "" compiles each time
	Only  []string // languages to load; nil means all of the manifest

	// Interpret does without the compiler, and Copy without mapped memory: what
	// systems without either get.
	Interpret, Copy bool

	// Partial goes on without the guests that cannot be read or compiled, which
	// Broken then lists. It is an error when none is left.
	Partial bool

	emptied bool // the cache was of no use and has been emptied
}

// Engine holds the compiled guests of a directory.
type Engine struct {
	runtime wazero.Runtime
	cache   wazero.CompilationCache
	guests  map[string]*Guest
	broken  map[string]error
	tree    *wasi.Tree

	taken      chan struct{} // asks for spares; has room for one
	quit, done chan struct{} // of the goroutine that makes them
}

// Guest is one compiled guest.
type Guest struct {
	manifest.Entry
	compiled wazero.CompiledModule
	image    image
	spares   spares
}

// imageSize is the size of the memory at the start, in bytes.
func (g *Guest) imageSize() uint64 { return uint64(g.Pages) * pageSize }

// pageSize is the unit of WebAssembly memory.
const pageSize = manifest.PageSize

// ErrNoGuest says that a language is not there.
var ErrNoGuest = errors.New("no such guest")

var errCompile = errors.New("compile")

// Load reads, checks and compiles the guests of dir. Loading with a cache also
// warms it for the next process; one that is of no use is done without. After
// Load nothing of the file system is needed.
func Load(ctx context.Context, dir string, o Options) (*Engine, error) {
	m, err := manifest.Read(dir)
	if err != nil {
		return nil, err
	}
	e := &Engine{guests: map[string]*Guest{}, broken: map[string]error{}}
	config := wazero.NewRuntimeConfig()
	if o.Interpret {
		config = wazero.NewRuntimeConfigInterpreter()
	}
	config = config.WithDebugInfoEnabled(false).WithCustomSections(false)
	if o.Cache != "" {
		if err := secureDir(o.Cache); err != nil {
			return nil, fmt.Errorf("cache of compiled guests %q: %w", o.Cache, err)
		}
		if e.cache, err = wazero.NewCompilationCacheWithDir(o.Cache); err != nil {
			return nil, fmt.Errorf("cache of compiled guests %q: %w", o.Cache, err)
		}
		config = config.WithCompilationCache(e.cache)
	}
	e.runtime = wazero.NewRuntimeWithConfig(ctx, config)
	if err := e.load(ctx, dir, m, o); err != nil {
		err = errors.Join(err, e.Close(ctx))
		if o.Cache != "" && errors.Is(err, errCompile) { // the cache is damaged, or lacks a guest and can only be read
			if o.emptied || empty(o.Cache) != nil {
				o.Cache = ""
			}
			o.emptied = true
			return Load(ctx, dir, o)
		}
		return nil, err
	}
	e.taken, e.quit, e.done = make(chan struct{}, 1), make(chan struct{}), make(chan struct{})
	go e.makeSpares()
	e.refill()
	return e, nil
}

// secureDir makes dir if it is missing and refuses one that others could write
// to: what is in it runs as machine code in this process.
func secureDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return errors.New("is not a directory")
	}
	return checkOwner(info)
}

// empty removes what wazero keeps in a cache.
func empty(cache string) error {
	dirs, err := filepath.Glob(filepath.Join(cache, "wazero-*"))
	for _, dir := range dirs {
		err = errors.Join(err, os.RemoveAll(dir))
	}
	return err
}

func (e *Engine) load(ctx context.Context, dir string, m manifest.Manifest, o Options) error {
	if err := wasi.Instantiate(ctx, e.runtime); err != nil {
		return err
	}
	files := map[string][]byte{}
	sums := map[string]string{}
	for _, entry := range m.Guests {
		if o.Only != nil && !slices.Contains(o.Only, entry.Language) {
			continue
		}
		if err := e.add(ctx, dir, entry, o, files, sums); err != nil {
			err = fmt.Errorf("guest %q: %w", entry.Language, err)
			if !o.Partial || o.Cache != "" && errors.Is(err, errCompile) { // first without the cache
				return err
			}
			e.broken[entry.Language] = err
		}
	}
	for _, language := range o.Only {
		if e.guests[language] == nil && e.broken[language] == nil {
			err := fmt.Errorf("guest %q: %w in %s", language, ErrNoGuest, dir)
			if !o.Partial {
				return err
			}
			e.broken[language] = err
		}
	}
	if len(e.guests) == 0 && len(e.broken) > 0 {
		return errors.Join(slices.Collect(maps.Values(e.broken))...)
	}
	var err error
	e.tree, err = wasi.NewTree(files)
	return err
}

// add reads and compiles one guest and puts its files to the others', whose
// hashes sums has.
func (e *Engine) add(ctx context.Context, dir string, entry manifest.Entry, o Options, files map[string][]byte, sums map[string]string) error {
	own := map[string][]byte{}
	for _, f := range entry.Files {
		if sum, ok := sums[f.Path]; ok && sum != f.SHA256 {
			return fmt.Errorf("file %q is also in another guest, with other contents", f.Path)
		}
		b, err := manifest.ReadFile(dir, f.File, f.SHA256)
		if err != nil {
			return err
		}
		own[f.Path] = b
	}
	g, err := e.compile(ctx, dir, entry, o.Copy)
	if err != nil {
		return err
	}
	e.guests[entry.Language] = g
	for _, f := range entry.Files {
		files[f.Path], sums[f.Path] = own[f.Path], f.SHA256
	}
	return nil
}

// compile reads and compiles one guest.
func (e *Engine) compile(ctx context.Context, dir string, entry manifest.Entry, copies bool) (*Guest, error) {
	wasm, err := manifest.ReadFile(dir, entry.Module, entry.ModuleSHA256)
	if err != nil {
		return nil, err
	}
	mem, err := manifest.ReadFile(dir, entry.Image, entry.ImageSHA256)
	if err != nil {
		return nil, err
	}
	if uint64(len(mem)) > uint64(entry.Pages)*pageSize {
		return nil, fmt.Errorf("the image has %d bytes, more than %d pages", len(mem), entry.Pages)
	}
	g := &Guest{Entry: entry, spares: spares{reserve: max(spareMemory, uint64(entry.Pages)*pageSize)}}
	if g.compiled, err = e.runtime.CompileModule(ctx, wasm); err != nil {
		return nil, fmt.Errorf("%w %s: %w", errCompile, entry.Module, err)
	}
	if err := CheckImports(g.compiled); err != nil {
		return nil, err
	}
	// An image may leave out the zeros at its end.
	full := make([]byte, uint64(entry.Pages)*pageSize)
	copy(full, mem)
	if copies {
		g.image = copied(full)
		return g, nil
	}
	if g.image, err = newImage(entry.Language, full); err != nil {
		return nil, err
	}
	return g, nil
}

// CheckImports refuses a module that imports something a guest may not have.
func CheckImports(m wazero.CompiledModule) error {
	allowed := wasi.Allowed()
	for _, f := range m.ImportedFunctions() {
		module, name, _ := f.Import()
		if _, ok := allowed[module+"."+name]; !ok {
			return fmt.Errorf("import %s.%s is not on the list of what a guest may have", module, name)
		}
	}
	if len(m.ImportedMemories()) > 0 {
		return errors.New("the memory is imported")
	}
	return nil
}

// Languages lists the guests that are there, in order.
func (e *Engine) Languages() []string { return slices.Sorted(maps.Keys(e.guests)) }

// Broken says of the guests that Load went on without what is wrong with them.
func (e *Engine) Broken() map[string]error { return maps.Clone(e.broken) }

// Guest returns the guest of a language, or ErrNoGuest.
func (e *Engine) Guest(language string) (*Guest, error) {
	if g := e.guests[language]; g != nil {
		return g, nil
	}
	return nil, fmt.Errorf("language %q: %w", language, ErrNoGuest)
}

// Files are the files that all guests of the engine see.
func (e *Engine) Files() *wasi.Tree { return e.tree }

// Close frees the compiled guests. All instances must be closed before.
func (e *Engine) Close(ctx context.Context) error {
	if e.quit != nil {
		close(e.quit)
		<-e.done
	}
	var err error
	for _, g := range e.guests {
		err = errors.Join(err, g.spares.close())
	}
	err = errors.Join(err, e.runtime.Close(ctx))
	if e.cache != nil {
		err = errors.Join(err, e.cache.Close(ctx))
	}
	for _, g := range e.guests {
		err = errors.Join(err, g.image.close())
	}
	return err
}

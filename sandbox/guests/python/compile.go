package python

import (
	"context"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"sync"

	"github.com/sallyport-gateway/sallyport/sandbox/guests/fetch"
)

// A compiler makes objects and modules for wasm32-wasi.
type compiler struct {
	zig string // the program
	dir string // for objects
}

// object is where the object of u is, in dir.
func (u unit) object(dir string) string {
	return filepath.Join(dir, filepath.Base(u.tree)+"_"+strings.ReplaceAll(u.path, "/", "_")+".o")
}

// compile makes the objects of all units, one a processor at a time, and
// returns their paths in the units' order.
func (c compiler) compile(ctx context.Context, list []unit) ([]string, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	objects := make([]string, len(list))
	work := make(chan int)
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for i := range work {
				u := list[i]
				object := u.object(c.dir)
				args := append([]string{"cc", "--target=wasm32-wasi"}, common...)
				args = append(args, "-ffile-prefix-map="+u.tree+"=")
				args = append(args, u.flags...)
				args = append(args, "-o", object, filepath.Join(u.tree, u.path))
				if err := c.run(ctx, args); err != nil {
					cancel(fmt.Errorf("compile %s: %w", u.path, err))
				}
				objects[i] = object
			}
		})
	}
	for i := range list {
		select {
		case work <- i:
		case <-ctx.Done():
		}
	}
	close(work)
	wg.Wait()
	return objects, context.Cause(ctx)
}

// link makes a reactor: a module whose functions the host calls. The stack is
// below the data, so that running out of it traps instead of overwriting.
func (c compiler) link(ctx context.Context, objects []string, module string, stack int) error {
	args := append([]string{"cc", "--target=wasm32-wasi", "-mexec-model=reactor", "-O2", "-o", module}, objects...)
	args = append(args, fmt.Sprintf("-Wl,-z,stack-size=%d", stack), "-Wl,--export=__stack_pointer", "-Wl,--strip-all",
		"-lwasi-emulated-signal", "-lwasi-emulated-getpid", "-lwasi-emulated-process-clocks", "-lwasi-emulated-mman", "-lm")
	if err := c.run(ctx, args); err != nil {
		return fmt.Errorf("link %s: %w", filepath.Base(module), err)
	}
	return nil
}

func (c compiler) run(ctx context.Context, args []string) error {
	cmd, err := fetch.ZigCommand(ctx, c.zig, c.dir, args...)
	if err != nil {
		return err
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		if context.Cause(ctx) != nil {
			return context.Cause(ctx)
		}
		return fmt.Errorf("%w\n%s", err, tail(out))
	}
	return nil
}

// tail is the end of a program's output, where the error is.
func tail(out []byte) string {
	const most = 4000
	if len(out) > most {
		out = out[len(out)-most:]
	}
	return strings.TrimSpace(string(out))
}

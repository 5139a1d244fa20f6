// Package wasi is the system that a guest sees: a small part of WASI preview 1
// over files in memory.
//
// A guest can do what Allowed lists and nothing else. The rest of WASI is there
// only to refuse with ENOSYS, since libraries expect to find the names. Nothing
// here opens a file, a socket or a process of the host, and every length that a
// guest gives is bounded before anything is allocated for it.
package wasi

import (
	"context"
	"fmt"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/sys"
)

// ModuleName is the module that guests import WASI from.
const ModuleName = "wasi_snapshot_preview1"

// Killed is the exit code of a guest that its host stopped.
const Killed = 137

type function struct {
	params string // one letter each: i is i32, l is i64
	call   func(*call) Errno
}

// allowed are the functions a guest may use.
var allowed = map[string]function{
	"args_get":                {"ii", argsGet},
	"args_sizes_get":          {"ii", argsSizesGet},
	"clock_res_get":           {"ii", clockResGet},
	"clock_time_get":          {"ili", clockTimeGet},
	"environ_get":             {"ii", argsGet},
	"environ_sizes_get":       {"ii", argsSizesGet},
	"fd_advise":               {"illi", fdAdvise},
	"fd_allocate":             {"ill", fdAllocate},
	"fd_close":                {"i", fdClose},
	"fd_datasync":             {"i", fdSync},
	"fd_fdstat_get":           {"ii", fdFdstatGet},
	"fd_fdstat_set_flags":     {"ii", fdFdstatSetFlags},
	"fd_filestat_get":         {"ii", fdFilestatGet},
	"fd_filestat_set_size":    {"il", fdFilestatSetSize},
	"fd_filestat_set_times":   {"illi", fdFilestatSetTimes},
	"fd_pread":                {"iiili", fdPread},
	"fd_prestat_dir_name":     {"iii", fdPrestatDirName},
	"fd_prestat_get":          {"ii", fdPrestatGet},
	"fd_pwrite":               {"iiili", fdPwrite},
	"fd_read":                 {"iiii", fdRead},
	"fd_readdir":              {"iiili", fdReaddir},
	"fd_renumber":             {"ii", fdRenumber},
	"fd_seek":                 {"ilii", fdSeek},
	"fd_sync":                 {"i", fdSync},
	"fd_tell":                 {"ii", fdTell},
	"fd_write":                {"iiii", fdWrite},
	"path_create_directory":   {"iii", pathCreateDirectory},
	"path_filestat_get":       {"iiiii", pathFilestatGet},
	"path_filestat_set_times": {"iiiilli", pathFilestatSetTimes},
	"path_open":               {"iiiiillii", pathOpen},
	"path_remove_directory":   {"iii", pathRemoveDirectory},
	"path_rename":             {"iiiiii", pathRename},
	"path_unlink_file":        {"iii", pathUnlinkFile},
	"poll_oneoff":             {"iiii", pollOneoff},
	"random_get":              {"ii", randomGet},
	"sched_yield":             {"", schedYield},
}

// refused are the functions that exist only to say ENOSYS: links, sockets,
// signals and rights.
var refused = map[string]string{
	"fd_fdstat_set_rights": "ill",
	"path_link":            "iiiiiii",
	"path_readlink":        "iiiiii",
	"path_symlink":         "iiiii",
	"proc_raise":           "i",
	"sock_accept":          "iii",
	"sock_recv":            "iiiiii",
	"sock_send":            "iiiii",
	"sock_shutdown":        "ii",
}

// Allowed lists every import that a guest may have, as "module.name", and says
// whether it does something (true) or only refuses (false).
func Allowed() map[string]bool {
	out := map[string]bool{"sbx.tick": true, "sbx.call": true, ModuleName + ".proc_exit": true}
	for name := range allowed {
		out[ModuleName+"."+name] = true
	}
	for name := range refused {
		out[ModuleName+"."+name] = false
	}
	return out
}

// call is one call of a guest into the host.
type call struct {
	*Proc
	mem  api.Memory
	args []uint64
}

func (c *call) u32(i int) uint32 { return uint32(c.args[i]) }
func (c *call) i64(i int) int64  { return int64(c.args[i]) }

// put32 and put64 write a result to guest memory.
func (c *call) put32(at, v uint32) Errno {
	if !c.mem.WriteUint32Le(at, v) {
		return EFAULT
	}
	return 0
}

func (c *call) put64(at uint32, v uint64) Errno {
	if !c.mem.WriteUint64Le(at, v) {
		return EFAULT
	}
	return 0
}

// callCost is what a call costs in units of fuel, besides the bytes it moves.
const callCost = 100

// Instantiate puts the host modules into r: WASI and sbx. Each guest instance
// is called with a context of its Proc.
func Instantiate(ctx context.Context, r wazero.Runtime) error {
	b := r.NewHostModuleBuilder(ModuleName)
	errno := []api.ValueType{api.ValueTypeI32}
	for name, f := range allowed {
		fn := f.call
		b.NewFunctionBuilder().WithGoModuleFunction(api.GoModuleFunc(func(ctx context.Context, mod api.Module, stack []uint64) {
			p := procOf(ctx)
			p.enter(callCost)
			stack[0] = uint64(fn(&call{Proc: p, mem: mod.Memory(), args: stack}))
		}), types(f.params), errno).Export(name)
	}
	for name, params := range refused {
		b.NewFunctionBuilder().WithGoModuleFunction(api.GoModuleFunc(func(ctx context.Context, _ api.Module, stack []uint64) {
			procOf(ctx).enter(callCost)
			stack[0] = uint64(ENOSYS)
		}), types(params), errno).Export(name)
	}
	b.NewFunctionBuilder().WithGoModuleFunction(api.GoModuleFunc(func(_ context.Context, _ api.Module, stack []uint64) {
		panic(sys.NewExitError(uint32(stack[0])))
	}), types("i"), nil).Export("proc_exit")
	if _, err := b.Instantiate(ctx); err != nil {
		return fmt.Errorf("host module %s: %w", ModuleName, err)
	}

	b = r.NewHostModuleBuilder("sbx")
	b.NewFunctionBuilder().WithGoModuleFunction(api.GoModuleFunc(func(ctx context.Context, _ api.Module, _ []uint64) {
		procOf(ctx).tick()
	}), nil, nil).Export("tick")
	b.NewFunctionBuilder().WithGoModuleFunction(api.GoModuleFunc(func(ctx context.Context, mod api.Module, stack []uint64) {
		p := procOf(ctx)
		p.enter(callCost)
		stack[0] = uint64(uint32(hostCall(&call{Proc: p, mem: mod.Memory(), args: stack})))
	}), types("iiii"), errno).Export("call")
	if _, err := b.Instantiate(ctx); err != nil {
		return fmt.Errorf("host module sbx: %w", err)
	}
	return nil
}

func types(params string) []api.ValueType {
	out := make([]api.ValueType, len(params))
	for i, p := range params {
		out[i] = api.ValueTypeI32
		if p == 'l' {
			out[i] = api.ValueTypeI64
		}
	}
	return out
}

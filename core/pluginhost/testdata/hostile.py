#!/usr/bin/env python3
"""Tries everything that a plugin should not be able to do, and prints what each attempt gave."""
import ctypes, errno, json, mmap, os, resource, signal, socket, struct, subprocess, sys, threading

REFUSED = (errno.EPERM, errno.EACCES, errno.ENOSYS, errno.ENOMEM, errno.EFBIG, errno.EAGAIN)
libc = ctypes.CDLL(None, use_errno=True)
target = json.loads(sys.argv[1])
results = {}


def attempt(name):
    def run(f):
        try:
            f()
            results[name] = "done"
        except (MemoryError, PermissionError):
            results[name] = "refused"
        except OSError as e:
            results[name] = "refused" if e.errno in REFUSED else repr(e)
        except RuntimeError as e:  # a thread that cannot be started
            results[name] = "refused"
    return run


def call(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), "call")


def read(path):
    with open(path, "rb") as f:
        f.read(1)


def write(path):
    with open(path, "ab") as f:
        f.write(b"x")


def connect(family, kind, address):
    s = socket.socket(family, kind)
    s.settimeout(2)
    s.connect(address)
    if kind == socket.SOCK_DGRAM:
        s.send(b"ping")
        if family == socket.AF_INET:
            s.recv(16)


pid = target["Gateway"]
tcp, udp = [(a.split(":")[0], int(a.split(":")[1])) for a in (target["TCP"], target["UDP"])]
attempt("tcp")(lambda: connect(socket.AF_INET, socket.SOCK_STREAM, tcp))
attempt("udp")(lambda: connect(socket.AF_INET, socket.SOCK_DGRAM, udp))
attempt("raw netlink")(lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0))
for i, path in enumerate(target["Sockets"]):
    attempt(f"socket {i}")(lambda: connect(socket.AF_UNIX, socket.SOCK_STREAM, path))
for name in ("environ", "maps", "cmdline", "status", "mem"):
    # The first page of the memory is nobody's: an input error means that it was opened.
    def look():
        fd = os.open(f"/proc/{pid}/{name}", os.O_RDONLY)
        if name != "mem":
            os.read(fd, 1)
    attempt("gateway " + name)(look)
attempt("gateway descriptors")(lambda: os.listdir(f"/proc/{pid}/fd"))
attempt("gateway signal")(lambda: os.kill(pid, 0))
attempt("gateway pidfd")(lambda: os.pidfd_open(pid))
attempt("gateway limits")(lambda: resource.prlimit(pid, resource.RLIMIT_CORE))


@attempt("gateway memory")
def _():
    here = ctypes.create_string_buffer(1)
    vec = struct.pack("PN", ctypes.addressof(here), 1)
    n = libc.process_vm_readv(pid, vec, 1, vec, 1, 0)
    if n < 0 and ctypes.get_errno() != errno.EFAULT:
        raise OSError(ctypes.get_errno(), "process_vm_readv")


@attempt("gateway ptrace")
def _():
    PTRACE_SEIZE, PTRACE_INTERRUPT, PTRACE_DETACH = 0x4206, 0x4207, 17
    call(libc.ptrace(PTRACE_SEIZE, pid, None, None))
    libc.ptrace(PTRACE_INTERRUPT, pid, None, None)
    os.waitpid(pid, 0x40000000)
    libc.ptrace(PTRACE_DETACH, pid, None, None)


@attempt("environment")
def _():
    if target["Canary"] not in repr(os.environ):
        raise PermissionError


for i, path in enumerate(target["Read"]):
    attempt(f"read {i}")(lambda: read(path))
for i, path in enumerate(target["Write"]):
    attempt(f"write {i}")(lambda: write(path))
attempt("data directory")(lambda: os.listdir(target["Data"]))
attempt("read lock")(lambda: read(target["Lock"]))
attempt("read other plugin")(lambda: read(target["Other"]))
attempt("write own program")(lambda: write(__file__))
attempt("chmod")(lambda: os.chmod(target["Lock"], 0o644))
attempt("shell")(lambda: subprocess.run(["/bin/sh", "-c", "exit 0"], check=True))
attempt("system")(lambda: call(-1 if os.system("exit 0") else 0))
attempt("run other plugin")(lambda: subprocess.run([target["Other"], "describe"], check=True, stdout=subprocess.DEVNULL))


@attempt("fork")
def _():
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)


attempt("memory")(lambda: bytearray(2 << 30))
attempt("shared memory")(lambda: mmap.mmap(-1, 1 << 20))
attempt("memory file")(lambda: os.memfd_create("hostile"))
attempt("file in own directory")(lambda: write(os.path.join(os.environ["TMPDIR"], "big")))
attempt("link in own directory")(lambda: os.symlink("/etc/passwd", os.path.join(os.environ["TMPDIR"], "link")))


@attempt("threads")
def _():
    threading.stack_size(64 << 10)
    wait = threading.Event()
    for _ in range(600):
        threading.Thread(target=wait.wait, daemon=True).start()


json.dump(results, sys.stdout)
sys.stdout.flush()
os._exit(0)

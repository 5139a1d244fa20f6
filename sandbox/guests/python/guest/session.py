"""A session of the sandbox: runs programs one after the other in one namespace.

Imported once, when the snapshot is made, so that what is imported here costs a
session nothing. run is all that the host calls.
"""

import _sitebuiltins
import ast
import asyncio
import builtins
import concurrent.futures.thread
import errno
import gc
import http.client
import inspect
import linecache
import os
import random
import socket
import sqlite3
import sys
import threading
import time
import traceback

import _sbx  # noqa: F401  the door to the host, for libraries that know it
import _socket
import _thread

_DATA = "/data/"
_SCRATCH = "/tmp"

# What programs use most; a missing one is no reason to have no snapshot.
_PRELOADED = """
    array base64 bisect calendar collections.abc contextlib copy csv dataclasses
    datetime decimal difflib enum fractions functools glob hashlib heapq html io
    itertools json math operator pathlib pickle pprint re shutil statistics
    string struct tempfile textwrap types typing unicodedata urllib.parse uuid
    zlib zoneinfo
""".split()


class Table:
    """One table that the request declares, read-only.

    len(t) counts its rows, iterating gives each row as a dict, t.columns are
    its column names, t.rows() is a list of tuples, t.query(sql, parameters)
    runs SQL over it under the name t, t.df() is a pandas DataFrame where
    pandas is installed, t.csv is the path of the same rows as a CSV file.
    """

    def __init__(self, name):
        self.name = name
        self.csv = _DATA + name + ".csv"
        self._db = None

    def _connect(self):
        if self._db is None:
            path = _DATA + self.name + ".db"
            for c in "%?#":  # have a meaning in a URI
                path = path.replace(c, "%%%02x" % ord(c))
            self._db = sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)
        return self._db

    @property
    def columns(self):
        return [c[0] for c in self._connect().execute("SELECT * FROM t LIMIT 0").description]

    def query(self, sql, parameters=()):
        return self._connect().execute(sql, parameters).fetchall()

    def rows(self):
        return self.query("SELECT * FROM t")

    def df(self):
        try:
            import pandas
        except ImportError:
            raise ImportError(
                "pandas is not in this sandbox: use .rows(), .query() or iterate over the table"
            ) from None
        return pandas.DataFrame(self.rows(), columns=self.columns)

    def __len__(self):
        return self.query("SELECT count(*) FROM t")[0][0]

    def __iter__(self):
        cursor = self._connect().execute("SELECT * FROM t")
        names = [c[0] for c in cursor.description]
        for row in cursor:
            yield dict(zip(names, row))

    def __repr__(self):
        return f"<table {self.name}: {len(self)} rows, columns {', '.join(self.columns)}>"


class Tables:
    """The declared tables by their full names, main.sales.reviews, or by the
    last part where only one has it. Behaves like a read-only dict."""

    def __init__(self):
        self._open = {}

    def keys(self):
        try:
            files = os.listdir(_DATA)
        except OSError:
            return []
        return sorted(f[:-3] for f in files if f.endswith(".db"))

    def __getitem__(self, name):
        names = self.keys()
        if name not in names:
            short = [n for n in names if n.endswith(f".{name}")]
            if len(short) != 1:
                known = ", ".join(names) or "none: the request declares no table"
                raise KeyError(f"no table {name!r}; the declared tables are {known}")
            name = short[0]
        if name not in self._open:
            self._open[name] = Table(name)
        return self._open[name]

    def __contains__(self, name):
        try:
            self[name]
        except KeyError:
            return False
        return True

    def get(self, name, default=None):
        return self[name] if name in self else default

    def values(self):
        return [self[name] for name in self.keys()]

    def items(self):
        return [(name, self[name]) for name in self.keys()]

    def __iter__(self):
        return iter(self.keys())

    def __len__(self):
        return len(self.keys())

    def __repr__(self):
        return f"<tables {', '.join(self.keys())}>"


class _Selector:
    """Waits for time only: there is nothing else in the sandbox to wait for."""

    def select(self, timeout=None):
        if timeout is None:
            raise RuntimeError("deadlock: every task waits, and nothing is left that could wake one")
        if timeout > 0:
            time.sleep(timeout)
        return []


class _Loop(asyncio.base_events.BaseEventLoop):
    """An event loop without the pair of sockets that the usual one needs."""

    def __init__(self):
        super().__init__()
        self._selector = _Selector()

    def _process_events(self, events):
        pass

    def _write_to_self(self):
        pass

    async def shutdown_default_executor(self, timeout=None):
        pass  # it has no threads; the usual way takes one to wait for them

    async def getaddrinfo(self, *args, **options):
        _no_name()

    async def getnameinfo(self, *args, **options):
        _no_name()

    async def subprocess_exec(self, *args, **options):
        _no_process()

    async def subprocess_shell(self, *args, **options):
        _no_process()


def _no_network(*args, **options):
    raise OSError(errno.ENETUNREACH, "no network in the sandbox")


def _no_name(*args, **options):
    raise socket.gaierror(errno.ENETUNREACH, "no network in the sandbox")


def _no_process(*args, **options):
    raise OSError(errno.ENOTSUP, "no processes in the sandbox")


class _HTTPSConnection(http.client.HTTPConnection):
    """Fails as a connection without encryption does, when it connects."""

    default_port = http.client.HTTPS_PORT

    def __init__(self, host, port=None, *, context=None, **options):
        super().__init__(host, port, **options)


def _no_thread(*args, **options):
    raise RuntimeError("can't start new thread: the sandbox has only one")


_new_socket = socket.socket.__init__


def _init_socket(self, family=-1, type=-1, proto=-1, fileno=None):
    if fileno is None:
        _no_network()
    _new_socket(self, family, type, proto, fileno)


class _Pool(concurrent.futures.thread.ThreadPoolExecutor):
    """Does the work when it is given: there is no thread to leave it to."""

    def submit(self, fn, /, *args, **kwargs):
        if self._shutdown:
            raise RuntimeError("cannot schedule new futures after shutdown")
        if self._initializer is not None:
            initialize, self._initializer = self._initializer, None
            initialize(*self._initargs)
        future = concurrent.futures.Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as e:  # what interrupts a program goes on
            future.set_exception(e)
        return future


# Frames are small, but a limit of 10**9 lets a recursion fill the memory, and
# then there is none left to raise an error with.
_DEEPEST = 100_000
_set_recursion_limit = sys.setrecursionlimit


def _setrecursionlimit(limit, /):
    """Set the maximum depth of the Python interpreter stack, at most 100,000 here."""
    _set_recursion_limit(min(limit, _DEEPEST) if isinstance(limit, int) else limit)


def _explain():
    """Lets what cannot work here fail with the error that programs expect, and
    a text that says why, instead of for the lack of a name."""
    socket.socket.__init__ = _init_socket
    for name in "getaddrinfo", "gethostbyname", "gethostbyname_ex", "gethostbyaddr", "getnameinfo":
        setattr(_socket, name, _no_name)
        if name != "getaddrinfo":  # which socket wraps
            setattr(socket, name, _no_name)
    socket.socketpair = _no_network
    http.client.HTTPSConnection = _HTTPSConnection  # without it https is no known type of URL
    http.client._create_https_context = lambda http_version: None
    socket.gethostname = _socket.gethostname = lambda: "sandbox"
    for name in "execv", "execve", "fork", "forkpty", "kill", "pipe", "posix_spawn", "posix_spawnp", "system", "waitpid":
        setattr(os, name, _no_process)
    os.WNOHANG = 1  # multiprocessing reads it before it forks
    threading._start_joinable_thread = _no_thread
    for name in "start_new_thread", "start_new", "start_joinable_thread":
        setattr(_thread, name, _no_thread)
    concurrent.futures.ThreadPoolExecutor = concurrent.futures.thread.ThreadPoolExecutor = _Pool
    sys.setrecursionlimit = _setrecursionlimit


class _Policy(asyncio.events.BaseDefaultEventLoopPolicy):
    _loop_factory = _Loop


_main = sys.modules["__main__"].__dict__
_count = 0


def run(source):
    """Runs source and returns 0, 1 after an exception, or the code it exits with."""
    try:
        try:
            return _run(source)
        finally:
            _flush()
    except BaseException as e:  # of this module: no memory, or an interrupt at the end
        try:
            sys.__stderr__.write(type(e).__name__ + "\n")
            sys.__stderr__.flush()
        except BaseException:
            pass
        return 1


def _run(source):
    global _count
    _count += 1
    if _count == 1:
        random.seed()  # the snapshot holds one state for all sessions
    name = f"<cell {_count}>"
    _restore_streams()
    linecache.cache[name] = len(source), None, source.splitlines(True), name
    try:
        _execute(source, name)
    except SystemExit as e:
        if e.code is None:
            return 0
        if isinstance(e.code, int):
            return e.code & 0xFF
        print(e.code, file=sys.stderr)
        return 1
    except BaseException as e:
        _report(e)
        return 1
    return 0


def _execute(source, name):
    tree = ast.parse(source, name)
    last = None
    if tree.body and isinstance(tree.body[-1], ast.Expr):
        last = ast.Expression(tree.body.pop().value)
    if tree.body:
        _evaluate(tree, name, "exec")
    if last is not None:
        value = _evaluate(last, name, "eval")
        if value is not None:
            _main["_"] = value
            print(repr(value))


def _evaluate(tree, name, mode):
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    code = compile(tree, name, mode, flags=flags, dont_inherit=True)
    value = eval(code, _main)
    if code.co_flags & inspect.CO_COROUTINE:
        return asyncio.run(value)
    return value


def _report(e):
    """Prints the traceback as if this module were not there."""
    trace = e.__traceback__
    while trace is not None and not trace.tb_frame.f_code.co_filename.startswith("<cell "):
        trace = trace.tb_next
    if isinstance(e, ModuleNotFoundError):
        e.add_note("The sandbox has Python's standard library, and no network to get more from.")
    try:
        report = traceback.TracebackException(type(e), e, trace, limit=1000)  # a frame takes 0.1 ms
        report.stack[:] = [f for f in report.stack if f.filename != _report.__code__.co_filename]
        report.print(file=sys.stderr)
    except BaseException:  # too deep, too big, or a __str__ that raises
        sys.stderr.write(type(e).__name__ + "\n")


def _restore_streams():
    """Gives a program its output back if an earlier one has closed or replaced it."""
    for n, name in (1, "stdout"), (2, "stderr"):
        stream = getattr(sys, "__%s__" % name)
        if stream is None or stream.closed:
            stream = open(n, "w", encoding="utf-8", errors="backslashreplace", closefd=False)
            setattr(sys, "__%s__" % name, stream)
        setattr(sys, name, stream)


def _flush():
    for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
        try:
            stream.flush()
        except Exception:  # closed or replaced by the program
            pass


def _prepare():
    for name in _PRELOADED:
        try:
            __import__(name)
        except ImportError:
            pass
    _explain()
    asyncio.set_event_loop_policy(_Policy())
    builtins.help = _sitebuiltins._Helper()
    builtins.exit = builtins.quit = sys.exit
    os.environ["HOME"] = _SCRATCH
    try:
        os.chdir(_SCRATCH)
    except OSError:
        pass
    sys.path.append(_SCRATCH)  # last: a file there must not stand for the library's
    sys.argv = [""]
    _main["tables"] = Tables()
    # What exists now lives as long as the session: the collector need not
    # touch it, so its pages stay shared between sessions.
    gc.collect()
    gc.freeze()


_prepare()

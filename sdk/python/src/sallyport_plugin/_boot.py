"""What every plugin's start goes through, whatever its kind: the describe
sub-command, the handshake with the gateway, logs, and an end that comes when
the gateway is gone. sdk/proto/README.md describes it."""

import json
import logging
import os
import signal
import sys
import threading
import time

from . import _log, _threads

PROTOCOL = 1
MAX_MESSAGE = 36 << 20  # bytes of a gRPC message either side takes

_COOKIE = "SALLYPORT_PLUGIN"
_COOKIE_VALUE = "a-gate-is-known-by-who-may-pass"
_PARENT_POLL = 0.5  # seconds
_STOP_GRACE = 2.0  # seconds from the wish to end to leaving anyway
_THREADS = 320  # of gRPC: more than a tool has streams, so that health checks find one

log = logging.getLogger("sallyport")


class Plugin:
    """A plugin program of one kind."""

    kind = ""  # "tool" or "provider"
    manifest = None  # a dict: the manifest of the kind

    def handlers(self, grpc, directory):
        """The gRPC handlers of the kind; directory is for its sockets."""
        raise NotImplementedError

    def configure(self, settings):
        """Takes the operator's settings, a dict. PluginError or ValueError refuses them."""
        if settings:
            raise ValueError("this plugin has no settings")

    def drain(self):
        """No new work will come."""

    def close(self):
        """Removes what handlers made."""


def run(plugin, argv=None):
    """Runs a plugin. Returns when the gateway has asked it to end."""
    argv = sys.argv if argv is None else argv
    if len(argv) == 2 and argv[1] == "describe":
        _describe(plugin)
    elif os.environ.get(_COOKIE) != _COOKIE_VALUE:
        name = os.path.basename(argv[0])
        sys.exit(
            "%s is a %s plugin of the Sallyport gateway, which starts it by itself.\n"
            "Check it with `sallyport plugin test PATH`, add it with `sallyport plugin add PATH`.\n"
            "`%s describe` prints what it offers." % (name, plugin.kind, name)
        )
    else:
        _serve(plugin)


def _describe(plugin):
    out = os.dup(1)
    os.dup2(2, 1)  # what was printed and not written yet must not stand beside the description
    sys.stdout.flush()
    line = json.dumps({"kind": plugin.kind, "protocol": PROTOCOL, "manifest": plugin.manifest})
    with os.fdopen(out, "w") as stdout:
        stdout.write(line + "\n")


def _serve(plugin):
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in the gateway's terminal is the gateway's to handle
    _threads.prepare()
    _log.to_stderr()  # before the first line that _Stdout reads
    stdout = _Stdout()
    versions = [v.strip() for v in os.environ.get("PLUGIN_PROTOCOL_VERSIONS", str(PROTOCOL)).split(",")]
    if str(PROTOCOL) not in versions:
        sys.exit("this plugin speaks protocol %d, the gateway %s; update one of them" % (PROTOCOL, ", ".join(versions)))
    end = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: end.set())
    _watch_parent(end)

    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")  # its log lines are not ours
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
    import grpc  # here, so that describe is quick

    from ._services import services

    directory = os.environ.get("PLUGIN_UNIX_SOCKET_DIR") or os.environ.get("TMPDIR", "/tmp")
    path = os.path.join(directory, "plugin.sock")
    server = _server(grpc)
    server.add_generic_rpc_handlers(services(grpc, plugin, end) + plugin.handlers(grpc, directory))
    server.add_insecure_port("unix:" + path)
    server.start()
    stdout.handshake("1|%d|unix|%s|grpc|" % (PROTOCOL, path))

    end.wait()
    last = threading.Timer(_STOP_GRACE, os._exit, [1])  # an author's thread may not end
    last.daemon = True
    last.start()
    server.stop(0.1).wait()
    plugin.close()
    if os.path.exists(path):
        os.remove(path)


def _server(grpc):
    from concurrent import futures

    return grpc.server(
        futures.ThreadPoolExecutor(max_workers=_THREADS),
        options=[
            ("grpc.max_receive_message_length", MAX_MESSAGE),
            ("grpc.max_send_message_length", MAX_MESSAGE),
            ("grpc.so_reuseport", 0),
        ],
    )


def _watch_parent(end):
    """Ends the process when the gateway is gone; on Linux the kernel does it sooner."""
    parent = int(os.environ.get("SALLYPORT_HOST_PID") or os.getppid())

    def watch():
        while os.getppid() == parent:
            time.sleep(_PARENT_POLL)
        end.set()
        time.sleep(_STOP_GRACE)
        os._exit(1)

    _threads.start("parent", watch)


class _Stdout:
    """Keeps the handshake apart from what the author prints: the real stdout
    is moved aside, and descriptor 1 becomes a pipe whose lines are logged with
    a hint. What was printed before and is still in Python's buffer goes there
    too."""

    def __init__(self):
        self._real = os.dup(1)
        read, write = os.pipe()
        os.dup2(write, 1)
        os.close(write)
        _threads.start("stdout", lambda: self._log(read))
        sys.stdout.flush()
        if hasattr(sys.stdout, "reconfigure"):
            sys.stdout.reconfigure(line_buffering=True)

    def handshake(self, line):
        os.write(self._real, (line + "\n").encode())

    @staticmethod
    def _log(read):
        with os.fdopen(read, "rb", buffering=8 << 10) as pipe:
            while True:
                line = pipe.readline(4 << 10)
                if not line:
                    return
                text = line.decode("utf-8", "replace").rstrip("\n")
                log.warning("plugin printed to stdout; log to stderr instead", extra={"line": text})

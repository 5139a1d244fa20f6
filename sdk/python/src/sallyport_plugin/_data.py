"""The plugin's end of the data plane: a listening socket, a token for each
connection, and the exchanges on it one after another."""

import collections
import errno
import logging
import os
import secrets
import socket
import struct
import threading
import time

from . import _frames as frames
from . import _threads, errors
from ._proto import provider_pb2

log = logging.getLogger("sallyport")

_TOKENS = 4096  # handed out and not used yet; the oldest gives way to one more
_TOKEN_LIFE = 30.0  # seconds from OpenData to HELLO
_HELLO_WAIT = 5.0  # seconds for the first frame of a connection
_MAX_HELLO = 256
_CONNECTIONS = 128  # at once, each with a thread; OpenData refuses more
_PAUSES = 0.005, 1.0  # seconds, the first and the longest, before accepting again where that failed
_CLOSED = errno.EBADF, errno.EINVAL  # of a listener that is


class DataPlane:
    def __init__(self, begin, directory, host):
        """begin(turn) is the author's; host is the gateway's process id."""
        self._begin = begin
        self._host = host
        self._tokens = collections.OrderedDict()  # to the end of their life, the oldest first
        self._lock = threading.Lock()
        self._connections = set()
        self._closed = threading.Event()
        self._flusher = frames.Flusher()
        self._watcher = frames.Watcher()
        self.path = os.path.join(directory, "data.sock")
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(self.path)
        self._listener.listen(128)
        _threads.start("data", self._accept)

    def open_data(self, request, refuse, full):
        """Gives out the address and a token for one connection; refuse(text) and full(text) do not return."""
        if request.frames < frames.VERSION:
            refuse("this plugin speaks frame format %d, the gateway %d" % (frames.VERSION, request.frames))
        token, now = secrets.token_bytes(32), time.monotonic()
        with self._lock:
            busy = len(self._connections) >= _CONNECTIONS
            if not busy:
                while self._tokens and (len(self._tokens) >= _TOKENS or next(iter(self._tokens.values())) < now):
                    self._tokens.popitem(last=False)
                self._tokens[token] = now + _TOKEN_LIFE
        if busy:
            full("%d connections at once are all that this plugin takes" % _CONNECTIONS)
        return provider_pb2.OpenDataResponse(
            socket=self.path, token=token, frames=frames.VERSION, max_frame=frames.MAX_FRAME
        )

    def close(self):
        self._closed.set()
        self._listener.close()
        with self._lock:
            for sock in self._connections:
                _shut(sock)
        if os.path.exists(self.path):
            os.remove(self.path)

    def _accept(self):
        """Takes connections until the listener is closed. Whatever else goes
        wrong goes by, such as having no descriptor or no memory left."""
        pause = 0
        while not self._closed.is_set():
            try:
                sock, _ = self._listener.accept()
            except OSError as e:
                if e.errno in _CLOSED:
                    return
                pause = self._rest(pause, e)
                continue
            with self._lock:
                full = len(self._connections) >= _CONNECTIONS
                if not full:
                    self._connections.add(sock)
            if full:  # many were let in at once; the gateway tells its client to try again
                sock.close()
                continue
            try:
                _threads.start("exchange", lambda sock=sock: self._connection(sock), deep=True)
                pause = 0
            except (RuntimeError, MemoryError) as e:  # no thread
                self._end(sock)
                pause = self._rest(pause, e)

    def _rest(self, pause, why):
        """Waits before the next try, and gives how long that was."""
        if not pause:
            log.warning("data connections cannot be accepted at the moment; they wait", extra={"error": str(why)})
        pause = min(max(2 * pause, _PAUSES[0]), _PAUSES[1])
        self._closed.wait(pause)
        return pause

    def _end(self, sock):
        with self._lock:
            self._connections.discard(sock)
        sock.close()

    def _connection(self, sock):
        try:
            reader = frames.Reader(sock)
            self._admit(sock, reader)
            writer = frames.Writer(sock, self._flusher)
            while True:
                kind, payload = reader.next()
                if kind != frames.REQ:
                    raise frames.Broken("frame of type %d between two exchanges" % kind)
                Exchange(reader, writer).run(self._begin, payload, sock, self._watcher)
        except frames.Closed:
            pass
        except frames.Broken as e:
            log.error("data connection broken", extra={"error": str(e)})
        except PermissionError as e:
            log.warning("data connection refused", extra={"error": str(e)})
        finally:
            self._end(sock)

    def _admit(self, sock, reader):
        """Checks who is there, and reads HELLO."""
        pid = frames.peer_pid(sock)
        if pid != self._host:
            raise PermissionError("process %d is not the gateway, %d" % (pid, self._host))
        sock.settimeout(_HELLO_WAIT)
        kind, length = reader.head()
        if kind != frames.HELLO or not 1 <= length <= _MAX_HELLO:
            raise frames.Broken("hello: frame of type %d with %d bytes" % (kind, length))
        hello = reader.exactly(length)
        sock.settimeout(None)
        if hello[0] == 0:  # the gateway looks whether anybody is let in
            raise frames.Closed()
        if hello[0] != frames.VERSION:
            raise frames.Broken("hello: frame format %d, this plugin speaks %d" % (hello[0], frames.VERSION))
        with self._lock:
            end = self._tokens.pop(bytes(hello[1:]), 0)
        if end < time.monotonic():
            raise PermissionError("unknown token")


class Exchange:
    """One exchange: REQ, UP_REQ, the reply in, events out."""

    def __init__(self, reader, writer):
        self._reader = reader
        self._writer = writer
        self.canceled = threading.Event()

    def run(self, begin, payload, sock, watcher):
        from .provider import Reply, Turn  # the author's side of these frames

        watcher.add(sock, self.canceled.set)
        try:
            head, body = frames.split_head(payload)
            turn = Turn._from(head, frames.load(body, "request") if body else None, self.canceled)
            try:
                exchange = begin(turn)
                upstream = exchange.upstream
                head, body = _up_req(exchange, upstream)
            except frames.Closed:
                raise
            except BaseException as e:
                self._end(frames.ERR, errors.encode("begin", e))
                return
            self._writer.frame(frames.UP_REQ, frames.with_head(head), body)
            self._writer.flush()
            kind, payload = self._reader.next()
            if kind != frames.UP_HEAD:
                raise frames.Broken("frame of type %d instead of the reply's head" % kind)
            up = frames.load(payload, "head of reply")
            bytes_ = ReplyBytes(self._reader, self._writer)
            reply = Reply(up.get("status", 0), up.get("header") or {}, bytes_)
            try:
                self._decode(turn.op, exchange, reply)
                self._end(frames.DONE)
            except (frames.Closed, frames.Broken):
                raise
            except BaseException as e:
                self._end(frames.ERR, errors.encode("decode", e))
            bytes_.drain()
        finally:
            watcher.remove(sock)

    def _decode(self, op, exchange, reply):
        if op == "embed" and hasattr(exchange, "decode_embed"):
            vectors, usage = exchange.decode_embed(reply)
            self._writer.frame(frames.EMBED, *_vectors(vectors, usage))
            return
        if op == "count_tokens" and hasattr(exchange, "decode_count"):
            self._writer.frame(frames.COUNT, frames.dump({"tokens": int(exchange.decode_count(reply))}))
            return
        events = exchange.decode(reply)
        try:
            for event in events:
                if self.canceled.is_set():
                    raise frames.Closed("canceled")
                terminal = event.get("response")
                usage = (terminal or event).get("usage")
                flags = (frames.EVENT_USAGE if usage else 0) | (frames.EVENT_TERMINAL if terminal else 0)
                self._writer.frame(frames.EVENT, bytes([flags]), frames.dump(event))
        finally:
            if hasattr(events, "close"):
                events.close()

    def _end(self, kind, payload=b""):
        if self.canceled.is_set():
            raise frames.Closed("canceled")
        self._writer.frame(kind, payload)
        self._writer.flush()


class ReplyBytes:
    """The bytes of a reply. A read that would wait first sends what was decoded
    so far: with a slow provider every event leaves at once, in a burst many
    leave together."""

    def __init__(self, reader, writer):
        self._reader = reader
        self._writer = writer
        self._left = 0  # bytes of the present UP_DATA frame
        self._ended = False
        self._cut = None  # why the reply was cut

    def some(self, most):
        """At least one byte; b"" at a good end. A cut reply is a PluginError."""
        while self._left == 0:
            if self._cut:
                raise self._cut
            if self._ended:
                return b""
            self._next()
        self._ready()
        part = self._reader.some(min(most, self._left))
        self._left -= len(part)
        return part

    def drain(self):
        """Passes over what the author did not read: then the connection is at rest."""
        while not self._ended:
            while self._left:
                self._left -= len(self._reader.some(self._left))
            self._next()

    def _ready(self):
        if not self._reader.buffered():
            self._writer.flush()

    def _next(self):
        self._ready()
        kind, length = self._reader.head()
        if kind == frames.UP_DATA:
            self._left = length
        elif kind == frames.UP_EOF:
            self._ended = True
            self._cut = _cut(self._reader.exactly(length))
        else:
            raise frames.Broken("frame of type %d in the reply" % kind)


def _up_req(exchange, upstream):
    head = {}
    if hasattr(exchange, "decode_embed"):
        head["embeds"] = True
    if hasattr(exchange, "decode_count"):
        head["counts"] = True
    if upstream is None:
        head["none"] = True
        return head, b""
    body = upstream.body
    if not isinstance(body, (bytes, bytearray)):
        body = frames.dump(body)
    head.update(method=upstream.method, path=upstream.path)
    header = {k: v if isinstance(v, list) else [v] for k, v in upstream.header.items()}
    optional = {"query": upstream.query, "header": header, "stream": upstream.stream, "lost": upstream.lost}
    head.update((k, v) for k, v in optional.items() if v)
    return head, body


def _cut(payload):
    """The error of a reply that was cut, None for a good end."""
    if not payload:
        return None
    eof = frames.load(payload, "end of reply")
    if eof.get("error"):
        return errors.decode(frames.dump(eof["error"]))
    return errors.PluginError(errors.UPSTREAM_FAILED, "The provider's reply was cut: %s." % eof.get("cut", ""))


def _vectors(vectors, usage):
    dimensions = len(vectors[0]) if vectors else 0
    for i, v in enumerate(vectors):
        if len(v) != dimensions:
            raise errors.PluginError(
                errors.UPSTREAM_FAILED,
                "The provider sent vectors of different lengths: %d numbers in the first and %d in number %d."
                % (dimensions, len(v), i + 1),
            )
    head = {"vectors": len(vectors), "dimensions": dimensions}
    if usage:
        head["usage"] = usage
    return frames.with_head(head), b"".join(struct.pack("<%df" % dimensions, *v) for v in vectors)


def _shut(sock):
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # it is closed already

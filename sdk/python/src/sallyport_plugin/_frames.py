"""Frames of the translators' data plane; sdk/proto/README.md describes them."""

import json
import select
import socket
import struct
import threading
import time
from collections import deque

from . import _threads

VERSION = 1
MAX_FRAME = 36 << 20  # bytes of a payload
_BUFFER = 32 << 10
_HEADER = struct.Struct(">IB")
_FLUSH_DELAY = 0.001  # seconds a frame may lie while the author neither reads nor writes
_FLUSH_AGAIN = 0.01  # seconds until a writer that could not send is tried again
_STEP = 1 << 20  # a long payload is read in steps: a length alone allocates little

HELLO, REQ, UP_HEAD, UP_DATA, UP_EOF = 1, 2, 3, 4, 5
UP_REQ, EVENT, ERR, DONE, EMBED, COUNT = 16, 17, 18, 19, 20, 21

EVENT_USAGE, EVENT_TERMINAL = 1, 2


class Broken(Exception):
    """A breach of the format."""


class Closed(Exception):
    """The connection ended: the exchange is not wanted any more."""


class Reader:
    """Reads frames from a socket; used by one thread."""

    def __init__(self, sock):
        self._sock = sock
        self._buffer = bytearray()
        self._at = 0

    def buffered(self):
        """Reports whether a read would find bytes without waiting."""
        return self._at < len(self._buffer)

    def head(self):
        """Reads type and length of the next frame."""
        length, kind = _HEADER.unpack(self.exactly(_HEADER.size))
        if length > MAX_FRAME:
            raise Broken("frame of type %d claims %d bytes, more than %d" % (kind, length, MAX_FRAME))
        return kind, length

    def next(self):
        """Reads a whole frame."""
        kind, length = self.head()
        return kind, self.exactly(length)

    def exactly(self, n):
        parts = []
        while n > 0:
            part = self.some(min(n, _STEP))
            parts.append(part)
            n -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def some(self, most):
        """Reads at least one byte and at most so many."""
        if not self.buffered():
            try:
                data = self._sock.recv(_BUFFER)
            except OSError as e:
                raise Closed(str(e)) from None
            if not data:
                raise Closed("end of the connection")
            self._buffer, self._at = data, 0
        part = bytes(self._buffer[self._at : self._at + most])
        self._at += len(part)
        return part


class Writer:
    """Writes frames. They wait in the buffer until flush, until the buffer is
    full, or for a millisecond. A frame is not split over two writes unless it
    is longer than the buffer."""

    def __init__(self, sock, flusher):
        self._sock = sock
        self._flusher = flusher
        self._buffer = bytearray()
        self._lock = threading.Lock()

    def frame(self, kind, *parts):
        length = sum(len(p) for p in parts)
        if length > MAX_FRAME:
            raise Broken("frame of type %d has %d bytes, more than %d" % (kind, length, MAX_FRAME))
        with self._lock:
            if self._buffer and len(self._buffer) + _HEADER.size + length > _BUFFER:
                self._send()
            if not self._buffer:
                self._flusher.arm(self)
            self._buffer += _HEADER.pack(length, kind)
            for part in parts:
                self._buffer += part
            if len(self._buffer) > _BUFFER:
                self._send()

    def flush(self):
        with self._lock:
            self._send()

    def flush_now(self):
        """Sends what can be sent without waiting; reports whether all was."""
        if not self._lock.acquire(blocking=False):
            return False
        try:
            if self._buffer:
                sent = self._sock.send(self._buffer, socket.MSG_DONTWAIT)
                del self._buffer[:sent]
            return not self._buffer
        except BlockingIOError:
            return False
        except OSError:
            return True  # the next write of the owner shows it
        finally:
            self._lock.release()

    def _send(self):
        if self._buffer:
            try:
                self._sock.sendall(self._buffer)
            except OSError as e:
                raise Closed(str(e)) from None
            self._buffer.clear()


class Flusher:
    """One thread that sends what lies in writers for too long."""

    def __init__(self):
        self._waiting = deque()  # (when, writer)
        self._changed = threading.Condition()
        _threads.start("flusher", self._run)

    def arm(self, writer, delay=_FLUSH_DELAY):
        with self._changed:
            self._waiting.append((time.monotonic() + delay, writer))
            self._changed.notify()

    def _run(self):
        while True:
            with self._changed:
                while not self._waiting:
                    self._changed.wait()
                when, writer = self._waiting.popleft()
            time.sleep(max(0, when - time.monotonic()))
            if not writer.flush_now():
                self.arm(writer, _FLUSH_AGAIN)


class Watcher:
    """One thread that looks whether the gateway has closed the connection of
    an exchange under way, and then calls its function."""

    _EVERY = 0.05  # seconds

    def __init__(self):
        self._watched = {}
        self._changed = threading.Condition()
        _threads.start("watcher", self._run)

    def add(self, sock, canceled):
        with self._changed:
            self._watched[sock] = canceled
            self._changed.notify()

    def remove(self, sock):
        with self._changed:
            self._watched.pop(sock, None)

    def _run(self):
        while True:
            with self._changed:
                while not self._watched:
                    self._changed.wait()
                watched = list(self._watched.items())
            for sock, canceled in watched:
                if _hung_up(sock):
                    self.remove(sock)
                    canceled()
            time.sleep(self._EVERY)


def _hung_up(sock):
    try:
        poll = select.poll()
        poll.register(sock, getattr(select, "POLLRDHUP", 0))
        return bool(poll.poll(0))
    except (OSError, ValueError):
        return True  # closed on our side


def peer_pid(sock):
    """The process at the other end of a unix socket."""
    if hasattr(socket, "SO_PEERCRED"):
        return struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
    return struct.unpack("i", sock.getsockopt(0, 2, 4))[0]  # macOS: SOL_LOCAL, LOCAL_PEERPID


def with_head(head):
    """The first part of a payload with a head."""
    data = dump(head)
    return struct.pack(">I", len(data)) + data


def split_head(payload):
    if len(payload) < 4:
        raise Broken("payload is shorter than the length of its head")
    n = struct.unpack_from(">I", payload)[0]
    if n > len(payload) - 4:
        raise Broken("head claims %d of %d bytes" % (n, len(payload) - 4))
    return load(payload[4 : 4 + n], "head"), payload[4 + n :]


def load(data, what):
    try:
        return json.loads(data)
    except ValueError as e:
        raise Broken("%s: %s" % (what, e)) from None


def dump(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")

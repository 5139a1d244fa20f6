"""The plugin's end of one Open or Call stream: what the author asks of the
Host goes out as frames, the answers come in as frames. The receiver never
waits for the author: what the author has not read yet is bounded by the window
that the gateway keeps."""

import collections
import queue
import threading

from . import errors
from ._proto import tool_pb2

_HOST_CALLS = 32  # at most so many without their end; one more waits here
_CREDIT = 64 << 10  # bytes of cost collected before they are given back
_MAX_PAYLOAD = 33 << 20  # bytes of one message


class Session:
    def __init__(self):
        self.out = queue.SimpleQueue()  # ToGateway frames; None ends the stream
        self.lock = threading.Lock()
        self.changed = threading.Condition(self.lock)  # a slot is free, or the end has come
        self.over = threading.Event()
        self._answers = {}
        self._under_way = 0
        self._last_id = 0

    def end(self):
        """Takes the authority away: every Host call, running or to come, fails."""
        with self.lock:
            self.over.set()
            waiting = list(self._answers.values())
            self.changed.notify_all()
        for answer in waiting:
            answer.wake()

    def finish(self, last):
        """Ends the authority and sends the last frame."""
        self.end()
        self.out.put(last)
        self.out.put(None)

    def deliver(self, frame):
        """Hands a frame of the gateway to the answer it belongs to. Frames that
        are not known, and pieces nobody wants any more, are dropped."""
        kind = frame.WhichOneof("frame")
        if kind not in ("piece", "end"):
            return
        part = getattr(frame, kind)
        with self.lock:
            answer = self._answers.get(part.id)
            if answer is None:
                return
            if kind == "end":
                del self._answers[part.id]
                self._under_way -= 1
                self.changed.notify()
        answer.put(kind, part)

    def begin(self, **call):
        """Makes a Host call. The caller reads the answer, and drops it."""
        call = tool_pb2.HostCall(**call)
        fits(call, "The Host call")
        with self.lock:
            while self._under_way >= _HOST_CALLS and not self.over.is_set():
                self.changed.wait()
            if self.over.is_set():
                raise errors.Canceled()
            self._under_way += 1
            self._last_id += 1
            call.id = self._last_id
            answer = self._answers[call.id] = Answer(self, call.id)
        self.out.put(tool_pb2.ToGateway(host=call))
        return answer

    def ask(self, **call):
        """Makes a Host call that is answered in its end."""
        answer = self.begin(**call)
        try:
            while True:
                kind, part = answer.next()
                if kind == "end":
                    return part
        finally:
            answer.drop()

    def stream(self, read, **call):
        """Makes a Host call and yields read(piece) for each piece. The call
        begins with the loop; leaving the loop stops the gateway's side."""
        answer = self.begin(**call)
        try:
            while True:
                kind, part = answer.next()
                if kind == "end":
                    return
                yield read(part)
                answer.used(part)
        finally:
            answer.drop()


class Answer:
    """The answer to one Host call as it arrives."""

    def __init__(self, session, id):
        self._session = session
        self._id = id
        self._changed = threading.Condition()
        self._pieces = collections.deque()
        self._end = None
        self._dropped = False
        self._owed = 0

    def wake(self):
        with self._changed:
            self._changed.notify_all()

    def put(self, kind, part):
        with self._changed:
            if kind == "end":
                self._end = part
            elif not self._dropped:
                self._pieces.append(part)
            self._changed.notify_all()

    def next(self):
        """Waits for ("piece", piece) or ("end", end); an error of the gateway is raised."""
        with self._changed:
            while True:
                if self._session.over.is_set():
                    raise errors.Canceled()
                if self._dropped:
                    raise errors.Canceled("The answer was closed.")
                if self._pieces:
                    return "piece", self._pieces.popleft()
                if self._end is not None:
                    if self._end.error:
                        raise errors.decode(self._end.error)
                    return "end", self._end
                self._changed.wait()

    def used(self, piece):
        """Gives the cost of a piece back to the gateway."""
        with self._changed:
            self._owed += piece.cost
            if self._owed < _CREDIT or self._end is not None or self._dropped:
                return
            credit, self._owed = self._owed, 0
        self._session.out.put(tool_pb2.ToGateway(credit=tool_pb2.HostCredit(id=self._id, cost=credit)))

    def drop(self):
        """Gives up the rest of the answer, if there is any."""
        with self._changed:
            running = self._end is None and not self._dropped
            self._dropped = True
            self._pieces.clear()
            self._changed.notify_all()
        if running and not self._session.over.is_set():
            self._session.out.put(tool_pb2.ToGateway(cancel=tool_pb2.HostCancel(id=self._id)))


def fits(message, thing):
    """Refuses a message that is too large to be sent, before gRPC ends the stream for it."""
    size = message.ByteSize()
    if size > _MAX_PAYLOAD:
        raise errors.PluginError(
            errors.TOO_LARGE,
            "%s is %d bytes long; at most %d MiB can pass between gateway and plugin."
            % (thing, size, _MAX_PAYLOAD >> 20),
        )


def text(s):
    """Makes s fit for a protobuf string: lone surrogates become U+FFFD."""
    try:
        s.encode()
        return s
    except UnicodeEncodeError:
        return s.encode("utf-8", "surrogatepass").decode("utf-8", "replace")

"""What the gateway offers a tool during one open or call. Every method acts
with the rights of the caller of the request; afterwards, and once the call was
canceled, each raises errors.Canceled."""

import json
from dataclasses import dataclass, field
from typing import Any, Dict, List, Optional

from . import errors
from ._proto import engine_pb2, tool_pb2
from ._session import text


@dataclass
class Column:
    name: str
    type: str = ""
    comment: str = ""


@dataclass
class Object:
    """A named object of the catalog as the caller may see it."""

    kind: str
    name: str  # canonical: catalog.schema.name
    comment: str = ""
    columns: List[Column] = field(default_factory=list)  # of a table
    version: str = ""  # changes when its content does; "" if unknown
    format: str = ""
    dialect: str = ""  # of the SQL that reads it
    spec: Any = None  # of other objects


@dataclass
class Batch:
    """A part of a query's result."""

    columns: List[Column]  # in the first batch
    rows: List[List[Any]]
    truncated: bool  # in the last batch: a limit cut the result


@dataclass
class ExecOutput:
    stdout: str
    stderr: str
    error: str = ""
    truncated: bool = False


@dataclass
class Entry:
    name: str
    size: int
    dir: bool = False


class Body:
    """Bytes of an answer as they come. Close it, or use it with `with`."""

    def __init__(self, answer):
        self._answer = answer
        self._rest = b""
        self._ended = False

    def __iter__(self):
        """Yields the bytes in pieces of at most 64 KiB."""
        while True:
            piece = self._piece()
            if not piece:
                return
            yield piece

    def read(self, size=-1):
        """Reads size bytes, fewer only at the end; all that is left by default."""
        parts, left = [], size
        while left != 0:
            piece = self._piece()
            if not piece:
                break
            if 0 <= left < len(piece):
                piece, self._rest = piece[:left], piece[left:]
            parts.append(piece)
            if left > 0:
                left -= len(piece)
        return b"".join(parts)

    def close(self):
        self._answer.drop()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _piece(self):
        if self._rest:
            piece, self._rest = self._rest, b""
            return piece
        while not self._ended:
            kind, part = self._answer.next()
            if kind == "end":
                self._ended = True
            elif part.chunk:
                self._answer.used(part)
                return part.chunk
        return b""


class Response(Body):
    """A target's reply: status, header (lower-case names, each a list) and body."""

    def __init__(self, answer, head):
        super().__init__(answer)
        self.status = head.status
        self.header: Dict[str, List[str]] = {}
        for h in head.header:
            self.header.setdefault(h.name.lower(), []).extend(h.values)

    def json(self, limit=4 << 20):
        """The whole body as JSON. A body over limit bytes, or one that is no
        JSON, is an upstream_failed error."""
        body = self.read(limit + 1)
        if len(body) > limit:
            raise errors.PluginError(errors.UPSTREAM_FAILED, "The service's answer is longer than %d bytes." % limit)
        try:
            return json.loads(body)
        except ValueError:
            raise errors.PluginError(errors.UPSTREAM_FAILED, "The service's answer is not JSON.") from None


class Host:
    def __init__(self, session):
        self._session = session

    @property
    def canceled(self):
        """True once the call is not wanted any more, or is over."""
        return self._session.over.is_set()

    def check(self):
        """Raises errors.Canceled once the call is not wanted any more. Long
        work that asks nothing of the Host calls it now and then."""
        if self.canceled:
            raise errors.Canceled()

    def wait(self, seconds):
        """Sleeps, and raises errors.Canceled as soon as the call is canceled."""
        if self._session.over.wait(seconds):
            raise errors.Canceled()

    def object(self, kind, name):
        """What is known of a named object. One the caller may not see and one
        that does not exist give the same denied error."""
        o = self._session.ask(object=tool_pb2.ObjectCall(kind=text(kind), name=text(name))).object
        return Object(
            o.kind, o.name, o.comment, _columns(o.columns), o.version, o.format, o.dialect,
            json.loads(o.spec) if o.spec else None,
        )

    def query(self, sql, args=(), max_rows=0, max_bytes=0):
        """Runs SQL over the tables of this request and yields Batches. At most
        max_rows (0 means 1000) and max_bytes (0 means 1 MiB) come back."""
        call = tool_pb2.QueryCall(sql=text(sql), args=[_value(a) for a in args], max_rows=max_rows, max_bytes=max_bytes)
        return self._session.stream(_batch, query=call)

    def generate(self, request):
        """Asks a model (request is a dict in the form of OpenResponses) and
        yields its events, dicts too."""
        return self._session.stream(lambda p: json.loads(p.event), generate=json.dumps(request).encode())

    def embed(self, model, texts):
        """Turns texts into vectors."""
        call = tool_pb2.EmbedCall(model=text(model), input=[text(t) for t in texts])
        return [list(v.values) for v in self._session.ask(embed=call).vectors.vectors]

    def exec(self, language, code):
        """Runs a program (python, sql, shell) in the code sandbox."""
        o = self._session.ask(exec=tool_pb2.ExecCall(language=text(language), code=text(code))).output
        return ExecOutput(o.stdout, o.stderr, o.error, o.truncated)

    def list(self, dir=""):
        """Lists a directory of the declared volume."""
        entries = self._session.ask(list=tool_pb2.ListCall(dir=text(dir))).entries
        return [Entry(e.name, e.size, e.dir) for e in entries.entries]

    def open(self, path):
        """Reads a file of the declared volume; gives a Body."""
        answer, _ = self._read(open=tool_pb2.OpenCall(path=text(path)))
        return Body(answer)

    def fetch(self, target, path="", query="", method="GET", header: Optional[Dict[str, str]] = None, body=b""):
        """Calls one of the manifest's targets; gives a Response. The gateway
        adds host and credential. query is encoded: urllib.parse.urlencode."""
        headers = [tool_pb2.Header(name=text(k), values=[text(v)]) for k, v in (header or {}).items()]
        call = tool_pb2.FetchCall(
            target=text(target), method=text(method), path=text(path), query=text(query), header=headers, body=body
        )
        return Response(*self._read(fetch=call))

    def progress(self, message="", fraction=0.0):
        """Tells the client that a long call is alive."""
        self._session.ask(progress=tool_pb2.ProgressCall(message=text(message), fraction=fraction))

    def _read(self, **call):
        answer = self._session.begin(**call)
        try:
            kind, part = answer.next()
            if kind != "piece" or part.WhichOneof("piece") != "head":
                raise RuntimeError("the gateway answered a read with another frame")
            answer.used(part)
            return answer, part.head
        except BaseException:
            answer.drop()
            raise


def _columns(columns):
    return [Column(c.name, c.type, c.comment) for c in columns]


def _batch(piece):
    b = piece.batch
    return Batch(_columns(b.columns), [json.loads(r) for r in b.rows], b.truncated)


def _value(v):
    """The wire form of a bound argument."""
    if v is None:
        return engine_pb2.Value()
    if isinstance(v, bool):
        return engine_pb2.Value(bool=v)
    if isinstance(v, int):
        return engine_pb2.Value(int=v)
    if isinstance(v, float):
        return engine_pb2.Value(double=v)
    if isinstance(v, str):
        return engine_pb2.Value(text=text(v))
    raise errors.PluginError(errors.INVALID, "The query's arguments cannot be bound: %s." % type(v).__name__)

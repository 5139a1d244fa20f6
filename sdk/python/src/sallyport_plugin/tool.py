"""What a tool plugin is made of.

A tool plugin serves one tool type of a request. It holds no credential and has
no network: whatever it reads it asks of its Host, which acts with the rights of
the caller of this request, and that authority ends when open or call returns.

    class Weather:
        def open(self, declarations, host):
            return [Function(d.index, "forecast", "Weather by place", {"type": "object"}) for d in declarations]

        def call(self, call, host):
            return host.fetch("weather", path="v1/forecast").json()["text"]

    serve(Manifest(type="weather", version="1.0.0", targets=["weather"]), Weather())
"""

import json
import threading
from dataclasses import asdict, dataclass, field
from typing import Any, List, Optional

from . import _boot, _threads, errors
from ._proto import tool_pb2
from ._session import Session, fits, text
from .host import Batch, Body, Column, Entry, ExecOutput, Host, Object, Response  # noqa: F401  for authors

# Effects: what running a function twice would do, and so whether a call may be
# retried when its plugin died.
ONCE, IDEMPOTENT, READ_ONLY = 0, 1, 2
# Approvals: whether a person must agree to a call first.
NEVER, BACKGROUND, ALWAYS = 0, 1, 2

_STREAMS = 256  # opens and calls that are there at once
_WORKING = 64  # of them at work; the others wait


@dataclass
class Requires:
    """What the plugin needs beyond the bare minimum; the operator accepts it."""

    read: List[str] = field(default_factory=list)  # files and directories to read
    programs: bool = False  # starts other programs
    memory: int = 0  # bytes; 0 means 1 GiB


@dataclass
class ObjectRef:
    """Which field of a declaration names which kind of object, and what the
    caller must be allowed to do with it."""

    field: str  # "table.name"
    kind: str  # "table"
    privilege: str  # "SELECT"


@dataclass
class Manifest:
    """Describes a tool plugin; `<plugin> describe` prints it."""

    type: str  # the tool type it serves
    version: str  # of the plugin
    scope: str = ""  # the token scope a caller needs
    object: Optional[ObjectRef] = None  # the object that a declaration names
    targets: List[str] = field(default_factory=list)  # names the operator binds to URLs and credentials
    config: Optional[dict] = None  # JSON Schema of the operator's settings
    requires: Optional[Requires] = None

    def to_json(self):
        out = {k: v for k, v in asdict(self).items() if v not in (None, "", [])}
        if self.config is not None:
            out["config"] = self.config
        if self.requires is not None:
            out["requires"] = {k: v for k, v in asdict(self.requires).items() if v}
            if not out["requires"]:
                del out["requires"]
        return out


@dataclass
class Declaration:
    """One entry of the request's `tools`."""

    index: int  # its place in `tools`, for messages: tools[index]
    name: str  # display name
    description: str  # the caller's hint when to use it
    object: str  # canonical name of the object it names, already checked
    spec: Any  # the nested object


@dataclass
class Function:
    """One function the model can call."""

    declaration: int  # the index of the Declaration it belongs to
    name: str
    description: str
    parameters: dict  # JSON Schema
    effect: int = ONCE
    approval: int = NEVER
    state: bytes = b""  # opaque, given back in call; at most 64 KiB


@dataclass
class Connection:
    """Names an MCP server that the gateway calls itself."""

    declaration: int
    name: str


@dataclass
class Opened:
    """What a set of declarations offers the model. A list of Functions will do too."""

    functions: List[Function] = field(default_factory=list)
    connections: List[Connection] = field(default_factory=list)


@dataclass
class Call:
    """One call the model made."""

    id: str
    function: str  # Function.name
    arguments: dict  # as the model wrote them; what is in it is not checked
    state: bytes
    attempt: int  # 2 when it is retried
    traceparent: str = ""


@dataclass
class Content:
    """A part of a result: text, or an image as data URL."""

    type: str  # "text" or "image"
    text: str = ""
    image_url: str = ""


@dataclass
class Citation:
    url: str
    title: str = ""


@dataclass
class Result:
    """What a call gave. A str will do too."""

    content: List[Content] = field(default_factory=list)
    structured: Any = None  # anything JSON can hold
    citations: List[Citation] = field(default_factory=list)
    is_error: bool = False  # the model sees that it failed, and why
    truncated: bool = False


def failed(message):
    """A Result that tells the model what went wrong."""
    return Result([Content("text", message)], is_error=True)


def serve(manifest, tool):
    """Runs tool as a plugin: the last line of its program. tool has open and
    call, and may have configure(settings) and drain()."""
    _boot.run(_ToolPlugin(manifest, tool))


class _ToolPlugin(_boot.Plugin):
    kind = "tool"

    def __init__(self, manifest, tool):
        self.manifest = manifest.to_json()
        self._tool = tool
        self._streams = threading.Semaphore(_STREAMS)
        self._working = threading.Semaphore(_WORKING)

    def configure(self, settings):
        getattr(self._tool, "configure", super().configure)(settings)

    def drain(self):
        getattr(self._tool, "drain", super().drain)()

    def handlers(self, grpc, directory):
        def method(step, run):
            return grpc.stream_stream_rpc_method_handler(
                lambda frames, context: self._stream(frames, context, step, run),
                request_deserializer=tool_pb2.ToPlugin.FromString,
                response_serializer=lambda m: m.SerializeToString(),
            )

        methods = {"Open": method("open", self._open), "Call": method("call", self._call)}
        return (grpc.method_handlers_generic_handler("sallyport.tool.v1.Tool", methods),)

    def _stream(self, frames, context, step, run):
        """Runs one stream: the author works in a thread of its own, another
        one hands it what the gateway answers, this one sends."""
        if not self._streams.acquire(blocking=False):
            busy = errors.PluginError(errors.UNAVAILABLE, "The tool has %d calls under way; try again." % _STREAMS)
            yield tool_pb2.ToGateway(error=errors.encode(step, busy))
            return
        try:
            session = Session()
            if not context.add_callback(lambda: (session.end(), session.out.put(None))):
                return
            first = next(frames, None)
            if first is None:
                return
            while not self._working.acquire(timeout=0.1):
                if session.over.is_set():
                    return
            _threads.start(step, lambda: self._work(session, step, run, first), deep=True)
            _threads.start("frames", lambda: _receive(frames, session))
            while True:
                frame = session.out.get()
                if frame is None:
                    return
                yield frame
        finally:
            self._streams.release()

    def _work(self, session, step, run, first):
        try:
            session.finish(_answer(step, run, first, Host(session)))
        finally:
            self._working.release()

    def _open(self, first, host):
        declarations = [
            Declaration(d.index, d.name, d.description, d.object, json.loads(d.spec or b"{}"))
            for d in first.open.declarations
        ]
        opened = self._tool.open(declarations, host)
        if not isinstance(opened, Opened):
            opened = Opened(functions=list(opened))
        return tool_pb2.ToGateway(
            opened=tool_pb2.Opened(
                functions=[
                    tool_pb2.Function(
                        declaration=f.declaration, name=text(f.name), description=text(f.description),
                        parameters=_json(f.parameters), effect=f.effect, approval=f.approval, state=f.state,
                    )
                    for f in opened.functions
                ],
                connections=[
                    tool_pb2.Connection(declaration=c.declaration, name=text(c.name)) for c in opened.connections
                ],
            )
        )

    def _call(self, first, host):
        c = first.call
        try:
            arguments = json.loads(c.arguments or b"{}")
        except ValueError:
            arguments = None
        if not isinstance(arguments, dict):
            raise errors.PluginError(errors.INVALID, "The arguments must be a JSON object.")
        result = self._tool.call(Call(c.id, c.function, arguments, c.state, c.attempt, c.traceparent), host)
        if isinstance(result, str):
            result = Result([Content("text", result)])
        return tool_pb2.ToGateway(
            result=tool_pb2.Result(
                content=[
                    tool_pb2.Content(type=text(p.type), text=text(p.text), image_url=text(p.image_url))
                    for p in result.content
                ],
                structured=b"" if result.structured is None else _json(result.structured),
                citations=[tool_pb2.Citation(url=text(c.url), title=text(c.title)) for c in result.citations],
                is_error=result.is_error,
                truncated=result.truncated,
            )
        )


def _answer(step, run, first, host):
    """Runs the author's code and gives the last frame. What it raises costs this stream only."""
    try:
        last = run(first, host)
        fits(last, "The answer of the tool")
        return last
    except BaseException as e:  # also SystemExit: a tool must not end the others
        return tool_pb2.ToGateway(error=errors.encode(step, e))


def _receive(frames, session):
    try:
        for frame in frames:
            session.deliver(frame)
    except Exception:  # the stream was canceled, which its callback tells too
        session.end()


def _json(value):
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")

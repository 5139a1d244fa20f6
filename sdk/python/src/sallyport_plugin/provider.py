"""What a provider plugin is made of: the pure translation of one turn between
the gateway's inner language (OpenResponses, as dicts) and a model provider's
dialect. A translator does no I/O: it says which HTTP request to make, the
gateway makes it and hands the reply's bytes back.

    class Exchange:
        def __init__(self, turn):
            self.upstream = Upstream("chat", body={"model": turn.model, "text": last_text(turn.request)})

        def decode(self, reply):
            out = Output()
            yield from out.text(reply.json()["text"])
            yield from out.finish()

    class Translator:
        def begin(self, turn):
            return Exchange(turn)

    serve(Manifest(name="acme", version="1.0.0"), Translator())
"""

import json
import os
from dataclasses import asdict, dataclass, field
from typing import Any, Dict, List, Optional

from . import _boot, errors
from ._data import DataPlane
from ._proto import provider_pb2
from .output import Output  # noqa: F401  for authors
from .tool import Requires

GENERATE, COUNT_TOKENS, EMBED, COMPACT = "generate", "count_tokens", "embed", "compact"


@dataclass
class Manifest:
    """Tells the gateway, as data, what it needs without asking the plugin."""

    name: str  # as in `translator: openai`
    version: str  # of the plugin
    ops: List[str] = field(default_factory=lambda: [GENERATE])
    offline: bool = False  # answers without any HTTP
    base_url: str = ""  # used when the account names none
    credential: Dict[str, str] = field(default_factory=lambda: {"scheme": "bearer"})  # none, bearer, header, query
    carry: List[str] = field(default_factory=list)  # client request headers to hand to begin
    request_ids: List[str] = field(default_factory=list)  # reply headers with the provider's request id
    settings: Optional[dict] = None  # JSON Schema of the account's settings
    meter: Dict[str, Any] = field(default_factory=dict)  # where replies carry token counts
    requires: Optional[Requires] = None

    def to_json(self):
        out = {k: v for k, v in asdict(self).items() if v not in (None, "", [], False) or k in ("ops", "meter")}
        if self.settings is not None:
            out["settings"] = self.settings
        if self.requires is not None:
            out["requires"] = {k: v for k, v in asdict(self.requires).items() if v}
            if not out["requires"]:
                del out["requires"]
        return out


@dataclass
class Turn:
    """One request to one destination."""

    op: str
    account: str  # the key under `providers:`
    settings: dict  # the account's settings
    model: str  # the provider's own model name
    carry: Dict[str, List[str]]
    request: Any  # of OpenResponses; for embed {"input": […], "dimensions": n}
    _canceled: Any = None

    @property
    def canceled(self):
        """True once the exchange is not wanted any more."""
        return self._canceled is not None and self._canceled.is_set()

    @classmethod
    def _from(cls, head, request, canceled):
        account = head.get("account") or {}
        return cls(
            head.get("op", ""), account.get("name", ""), account.get("settings") or {}, head.get("model", ""),
            head.get("carry") or {}, request, canceled,
        )


@dataclass
class Upstream:
    """An HTTP request without host and credential."""

    path: str  # relative to the account's base URL
    method: str = "POST"
    query: str = ""
    header: Dict[str, Any] = field(default_factory=lambda: {"Content-Type": "application/json"})
    body: Any = b""  # bytes, or what is written as JSON
    stream: bool = False  # the reply is expected to be a stream
    lost: List[str] = field(default_factory=list)  # fields of the request that this provider has no place for


class Reply:
    """The provider's answer. A body that was cut is a PluginError when its end is read."""

    def __init__(self, status, header, bytes_):
        self.status = status
        self.header = {k.lower(): v for k, v in header.items()}  # lists of values
        self._bytes = bytes_

    def __iter__(self):
        """Yields bytes as they come, split anywhere."""
        while True:
            part = self._bytes.some(64 << 10)
            if not part:
                return
            yield part

    def read(self, limit=32 << 20):
        """The whole body. One over limit bytes is an upstream_failed error."""
        body = bytearray()
        for part in self:
            body += part
            if len(body) > limit:
                raise errors.PluginError(errors.UPSTREAM_FAILED, "The provider's reply is too long.")
        return bytes(body)

    def json(self):
        """The whole body as JSON."""
        try:
            return json.loads(self.read())
        except ValueError:
            raise errors.PluginError(errors.UPSTREAM_FAILED, "The provider's reply is not JSON.") from None

    def lines(self, limit=8 << 20):
        """Yields the lines of the body, without their ends, as they come."""
        rest = bytearray()
        for part in self:
            rest += part
            *whole, last = rest.split(b"\n")
            rest = bytearray(last)
            for line in whole:
                yield bytes(line.rstrip(b"\r"))
            if len(rest) > limit:
                raise errors.PluginError(errors.UPSTREAM_FAILED, "A line of the provider's reply is too long.")
        if rest:
            yield bytes(rest)


def serve(manifest, translator):
    """Runs translator as a plugin: the last line of its program. begin(turn)
    gives an exchange: `upstream` is an Upstream or None, decode(reply) yields
    events (see Output). decode_embed(reply) -> (vectors, usage) and
    decode_count(reply) -> int are there when the manifest's ops need them."""
    _boot.run(_ProviderPlugin(manifest, translator))


class _ProviderPlugin(_boot.Plugin):
    kind = "provider"

    def __init__(self, manifest, translator):
        self.manifest = manifest.to_json()
        self._translator = translator
        self._data = None

    def configure(self, settings):
        getattr(self._translator, "configure", super().configure)(settings)

    def drain(self):
        getattr(self._translator, "drain", super().drain)()

    def handlers(self, grpc, directory):
        host = int(os.environ.get("SALLYPORT_HOST_PID") or os.getppid())
        self._data = DataPlane(self._translator.begin, directory, host)

        def open_data(request, context):
            return self._data.open_data(
                request,
                refuse=lambda why: context.abort(grpc.StatusCode.FAILED_PRECONDITION, why),
                full=lambda why: context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, why),
            )

        method = grpc.unary_unary_rpc_method_handler(
            open_data,
            request_deserializer=provider_pb2.OpenDataRequest.FromString,
            response_serializer=lambda m: m.SerializeToString(),
        )
        return (grpc.method_handlers_generic_handler("sallyport.provider.v1.Provider", {"OpenData": method}),)

    def close(self):
        self._data.close()

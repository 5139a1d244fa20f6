"""The services every plugin has beside that of its kind."""

import json

from ._proto import base_pb2
from .errors import PluginError

# The messages of these two services are too small to need generated code,
# whose names could collide with another package's: {service: "plugin"},
# {status: SERVING}, {status: SERVICE_UNKNOWN} and the empty message.
_HEALTH_PLUGIN = b"\x0a\x06plugin"
_SERVING = b"\x08\x01"
_SERVICE_UNKNOWN = b"\x08\x03"
_EMPTY = b""


def services(grpc, plugin, end):
    """Base, health and go-plugin's controller. end is set by Shutdown."""

    def check(request, context):
        if request in (_HEALTH_PLUGIN, _EMPTY):
            return _SERVING
        context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")

    def watch(request, context):
        yield _SERVING if request in (_HEALTH_PLUGIN, _EMPTY) else _SERVICE_UNKNOWN

    def shutdown(request, context):
        if not context.add_callback(end.set):  # once the answer is on its way
            end.set()
        return _EMPTY

    def configure(request, context):
        try:
            settings = json.loads(request.json or b"{}")
            plugin.configure(settings)
        except (PluginError, ValueError, TypeError, KeyError) as e:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(e) or type(e).__name__)
        return base_pb2.ConfigureResponse()

    def drain(request, context):
        plugin.drain()
        return base_pb2.DrainResponse()

    def typed(behavior, request):
        return grpc.unary_unary_rpc_method_handler(
            behavior,
            request_deserializer=request.FromString,
            response_serializer=lambda m: m.SerializeToString(),
        )

    return (
        grpc.method_handlers_generic_handler(
            "grpc.health.v1.Health",
            {
                "Check": grpc.unary_unary_rpc_method_handler(check),
                "Watch": grpc.unary_stream_rpc_method_handler(watch),
            },
        ),
        grpc.method_handlers_generic_handler(
            "plugin.GRPCController", {"Shutdown": grpc.unary_unary_rpc_method_handler(shutdown)}
        ),
        grpc.method_handlers_generic_handler(
            "sallyport.base.v1.Base",
            {
                "Configure": typed(configure, base_pb2.ConfigureRequest),
                "Drain": typed(drain, base_pb2.DrainRequest),
            },
        ),
    )

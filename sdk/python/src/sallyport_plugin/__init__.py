"""Plugins of the Sallyport gateway in Python.

`sallyport_plugin.tool` is for tool types, `sallyport_plugin.provider` for model
providers. A plugin sees the content of the calls it serves, and no credential;
it runs without network and without files, and asks its Host for what it needs.
"""

from .errors import Canceled, PluginError

__all__ = ["Canceled", "PluginError", "serve"]


def serve(manifest, plugin):
    """Runs a plugin: tool.serve or provider.serve, as the manifest says."""
    from . import provider, tool

    if isinstance(manifest, tool.Manifest):
        tool.serve(manifest, plugin)
    elif isinstance(manifest, provider.Manifest):
        provider.serve(manifest, plugin)
    else:
        raise TypeError("the manifest must be a tool.Manifest or a provider.Manifest")

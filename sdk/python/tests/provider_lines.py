"""A provider whose replies are lines of text, a delta each."""

import struct
import time

from sallyport_plugin import PluginError, provider


class Exchange:
    def __init__(self, turn):
        self.turn = turn
        self.upstream = provider.Upstream("chat", query="v=1", body={"model": turn.model, "input": turn.request}, stream=True)

    def decode(self, reply):
        if reply.status != 200:
            raise PluginError("upstream_failed", "The provider answered %d." % reply.status)
        out = provider.Output()
        for line in reply.lines():
            text = line.decode()
            if text == "boom":
                raise RuntimeError("a secret of mine")
            if text.startswith("call "):
                yield from out.call("call_1", text[5:])
                yield from out.arguments("{}")
            else:
                yield from out.text(text)
        out.usage(input=3, output=4)
        yield from out.finish(model="lines-1")

    def decode_embed(self, reply):
        return [[0.5, 1.0], [2.0, -1.0]], {"input_tokens": 3}

    def decode_count(self, reply):
        return len(reply.read())


class Silent(Exchange):
    upstream = None

    def __init__(self, turn):
        self.turn = turn

    def decode(self, reply):
        while not self.turn.canceled:
            time.sleep(0.01)
        import logging

        logging.warning("saw the cancel")
        yield from ()


class Lines:
    def begin(self, turn):
        if turn.model == "refused":
            raise PluginError("invalid", "No such model.", param="model")
        return Silent(turn) if turn.model == "silent" else Exchange(turn)


if __name__ == "__main__":
    assert struct.calcsize("f") == 4
    provider.serve(provider.Manifest(name="lines", version="1.0.0", ops=["generate", "embed", "count_tokens"]), Lines())

"""A tool that uses all of its Host."""

import logging
import time

print("printed while it was loaded")

from sallyport_plugin import PluginError, tool  # noqa: E402


class Everything:
    settings = None

    def configure(self, settings):
        if "bad" in settings:
            raise PluginError("invalid", "bad is no setting")
        self.settings = settings

    def open(self, declarations, host):
        print("printed in open")
        functions = []
        for d in declarations:
            if not d.spec.get("name"):
                raise PluginError("invalid", "It needs a name.", param="tools[%d].name" % d.index)
            name = host.object("table", d.spec["name"]).name
            functions.append(tool.Function(d.index, name, "A function", {"type": "object"}, tool.READ_ONLY, state=b"s"))
        return functions

    def call(self, call, host):
        return getattr(self, call.function)(call, host)

    def echo(self, call, host):
        return tool.Result([tool.Content("text", str(call.arguments))], structured={"state": call.state.decode()})

    def settings_(self, call, host):
        return str(self.settings)

    def query(self, call, host):
        batches = list(host.query("SELECT ?", [None, True, 7, 1.5, "x"], max_rows=5))
        return tool.Result(structured={"columns": [c.name for c in batches[0].columns], "rows": batches[0].rows})

    def fetch(self, call, host):
        with host.fetch("service", path="p", query="q=1", header={"Accept": "text/plain"}) as response:
            return "%d %s %s" % (response.status, response.header["x-a"], response.read().decode())

    def fetch_some(self, call, host):
        with host.fetch("service") as response:
            return response.read(3).decode()

    def read_slowly(self, call, host):
        total = 0
        for piece in host.open("file"):
            total += len(piece)
        return str(total)

    def others(self, call, host):
        host.progress("half", 0.5)
        events = [e["type"] for e in host.generate({"model": "m"})]
        run = host.exec("python", "print(1)")
        names = [e.name for e in host.list("dir")]
        return "%s %s %s %s" % (host.embed("e", ["a"]), run.stdout, names, events)

    def raises(self, call, host):
        raise ValueError("a secret of mine")

    def exits(self, call, host):
        raise SystemExit(3)

    def coded(self, call, host):
        raise PluginError("rate_limited", "Slow down.", retry_after=1.5)

    def big(self, call, host):
        return "x" * (34 << 20)

    def surrogate(self, call, host):
        return "\ud800!"

    def until_canceled(self, call, host):
        logging.info("waiting", extra={"n": 1})
        try:
            host.wait(20)
        finally:
            logging.warning("woke up")

    def ignores_cancel(self, call, host):
        time.sleep(30)


if __name__ == "__main__":
    config = {"type": "object"}
    tool.serve(tool.Manifest(type="everything", version="1.0.0", targets=["service"], config=config), Everything())

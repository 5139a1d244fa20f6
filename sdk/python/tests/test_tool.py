import json
import threading
import time
import unittest

import gateway
from sallyport_plugin._proto import engine_pb2, tool_pb2


class Tool(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.p = gateway.Plugin("tool_everything.py")

    @classmethod
    def tearDownClass(cls):
        cls.p.__exit__()

    def test_open(self):
        stream = self.p.open(tool_pb2.Declaration(index=2, spec=b'{"name":"main.a.b"}'))
        kind, host = stream.next()
        self.assertEqual((kind, host.object.kind, host.object.name), ("host", "table", "main.a.b"))
        stream.end(host.id, object=tool_pb2.Object(kind="table", name="main.a.B"))
        kind, opened = stream.next()
        f = opened.functions[0]
        self.assertEqual((kind, f.declaration, f.name, f.effect, f.state), ("opened", 2, "main.a.B", 2, b"s"))
        self.assertEqual(list(stream.frames), [])

    def test_errors_keep_their_code(self):
        stream = self.p.open(tool_pb2.Declaration(index=2, spec=b"{}"))
        kind, error = stream.next()
        want = {"code": "invalid", "message": "It needs a name.", "param": "tools[2].name"}
        self.assertEqual((kind, json.loads(error)), ("error", want))
        stream = self.p.open(tool_pb2.Declaration(spec=b'{"name":"x"}'))
        _, host = stream.next()
        stream.end(host.id, error=b'{"code":"denied","message":"You need SELECT."}')
        self.assertEqual(json.loads(stream.next()[1]), {"code": "denied", "message": "You need SELECT."})
        self.assertEqual(json.loads(self.p.call("coded").next()[1])["retry_after_ms"], 1500)

    def test_what_a_tool_raises_is_internal(self):
        for function in "raises", "exits", "no_such_function":
            kind, error = self.p.call(function).next()
            want = {"code": "internal", "message": "The gateway met an internal error."}
            self.assertEqual((kind, json.loads(error)), ("error", want))
        self.assertTrue(any("a secret of mine" in line for line in self.p.log))

    def test_results(self):
        _, result = self.p.call("echo", {"a": "ä"}, state=b"s").next()
        self.assertEqual((result.content[0].text, result.structured), ("{'a': 'ä'}", b'{"state": "s"}'))
        _, result = self.p.call("surrogate").next()
        self.assertEqual(result.content[0].text, "\ufffd\ufffd\ufffd!")
        kind, error = self.p.call("big").next()
        self.assertEqual((kind, json.loads(error)["code"]), ("error", "too_large"))

    def test_large_arguments(self):
        _, result = self.p.call("echo", {"a": "x" * (4 << 20)}).next()
        self.assertGreater(len(result.content[0].text), 4 << 20)

    def test_deep_arguments(self):
        for n in 900, 5000, 100000:
            deep = gateway.Stream(self.p.channel, "Call", tool_pb2.ToPlugin(
                call=tool_pb2.CallRequest(function="echo", arguments=b'{"a":' + b"[" * n + b"]" * n + b"}")))
            self.assertIn(deep.next()[0], ("result", "error"))

    def test_query(self):
        stream = self.p.call("query")
        _, host = stream.next()
        self.assertEqual((host.query.sql, host.query.max_rows), ("SELECT ?", 5))
        kinds = [a.WhichOneof("kind") for a in host.query.args]
        self.assertEqual(kinds, [None, "bool", "int", "double", "text"])
        batch = engine_pb2.Batch(columns=[engine_pb2.Column(name="a")], rows=[b"[1]", b"[null]"])
        stream.send(piece=tool_pb2.HostPiece(id=host.id, cost=20, batch=batch))
        stream.end(host.id)
        _, result = stream.next()
        self.assertEqual(json.loads(result.structured), {"columns": ["a"], "rows": [[1], [None]]})

    def test_fetch(self):
        stream = self.p.call("fetch")
        _, host = stream.next()
        f = host.fetch
        self.assertEqual((f.target, f.method, f.path, f.query, f.header[0].name), ("service", "GET", "p", "q=1", "Accept"))
        head = tool_pb2.Head(status=200, header=[tool_pb2.Header(name="X-A", values=["1", "2"])])
        stream.send(piece=tool_pb2.HostPiece(id=host.id, cost=64, head=head))
        for chunk in b"one ", b"two":
            stream.send(piece=tool_pb2.HostPiece(id=host.id, cost=68, chunk=chunk))
        stream.end(host.id)
        self.assertEqual(stream.next()[1].content[0].text, "200 ['1', '2'] one two")

    def test_closing_a_body_cancels_the_rest(self):
        stream = self.p.call("fetch_some")
        _, host = stream.next()
        stream.send(piece=tool_pb2.HostPiece(id=host.id, cost=64, head=tool_pb2.Head(status=200)))
        stream.send(piece=tool_pb2.HostPiece(id=host.id, cost=70, chunk=b"abcdef"))
        kind, cancel = stream.next()
        self.assertEqual((kind, cancel.id), ("cancel", host.id))
        self.assertEqual(stream.next()[1].content[0].text, "abc")

    def test_credits_give_the_whole_cost_back_in_good_time(self):
        stream = self.p.call("read_slowly")
        _, host = stream.next()
        stream.send(piece=tool_pb2.HostPiece(id=host.id, cost=64, head=tool_pb2.Head()))
        chunk, out, sent = b"x" * 60000, 0, 0
        while sent < 40:
            while out < 256 << 10 and sent < 40:
                stream.send(piece=tool_pb2.HostPiece(id=host.id, cost=60064, chunk=chunk))
                out, sent = out + 60064, sent + 1
            if sent < 40:
                kind, credit = stream.next()
                self.assertEqual((kind, credit.id), ("credit", host.id))
                out -= credit.cost
        stream.end(host.id)
        kind, last = stream.next()
        while kind == "credit":
            kind, last = stream.next()
        self.assertEqual(last.content[0].text, str(40 * 60000))

    def test_the_other_host_calls(self):
        stream = self.p.call("others")
        _, host = stream.next()
        self.assertEqual((host.progress.message, host.progress.fraction), ("half", 0.5))
        stream.end(host.id)
        _, host = stream.next()
        self.assertEqual(json.loads(host.generate), {"model": "m"})
        stream.send(piece=tool_pb2.HostPiece(id=host.id, cost=9, event=b'{"type":"response.completed"}'))
        stream.end(host.id)
        _, host = stream.next()
        stream.end(host.id, output=tool_pb2.Output(stdout="1"))
        _, host = stream.next()
        stream.end(host.id, entries=tool_pb2.Entries(entries=[tool_pb2.Entry(name="f")]))
        _, host = stream.next()
        stream.end(host.id, vectors=tool_pb2.Vectors(vectors=[tool_pb2.Vector(values=[0.5])]))
        self.assertEqual(stream.next()[1].content[0].text, "[[0.5]] 1 ['f'] ['response.completed']")

    def test_cancel_reaches_the_author(self):
        stream = self.p.call("until_canceled")
        self._logged("waiting")
        stream.cancel()
        self._logged("woke up")

    def _logged(self, message):
        end = time.monotonic() + 5
        while not any('"%s"' % message in line for line in self.p.log):
            self.assertLess(time.monotonic(), end, "the log lacks " + message)
            time.sleep(0.01)

    def test_many_side_by_side(self):
        streams = [self.p.call("fetch") for _ in range(100)]
        head = tool_pb2.Head(status=204, header=[tool_pb2.Header(name="x-a", values=["1"])])
        for s in streams:  # the last ones begin when the first ones are done
            host = s.next()[1]
            s.send(piece=tool_pb2.HostPiece(id=host.id, cost=64, head=head))
            s.end(host.id)
        for s in streams:
            self.assertEqual(s.next()[1].content[0].text, "204 ['1'] ")

    def test_stuck_calls_do_not_stop_health_nor_the_end(self):
        with gateway.Plugin("tool_everything.py") as p:
            stuck = [p.call("ignores_cancel") for _ in range(40)]
            self.assertEqual(p.unary("/grpc.health.v1.Health/Check", b"\x0a\x06plugin"), b"\x08\x01")
            for s in stuck:
                s.cancel()
            threading.Event().wait(0.1)
            p.unary("/plugin.GRPCController/Shutdown")
            p.process.wait(5)


if __name__ == "__main__":
    unittest.main()

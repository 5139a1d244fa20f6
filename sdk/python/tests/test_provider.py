import json
import os
import resource
import struct
import time
import unittest

import grpc

import gateway


class Provider(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.p = gateway.Plugin("provider_lines.py")

    @classmethod
    def tearDownClass(cls):
        cls.p.__exit__()

    def setUp(self):
        self.data = self.p.data()
        self.addCleanup(self.data.close)

    def _ask(self, **head):
        self.data.request("generate", {"input": "hi"}, **head)
        return self.data.up_req()

    def test_request(self):
        head, body = self._ask()
        want = {
            "method": "POST", "path": "chat", "query": "v=1", "stream": True, "embeds": True, "counts": True,
            "header": {"Content-Type": ["application/json"]},
        }
        self.assertEqual((head, json.loads(body)), (want, {"model": "m", "input": {"input": "hi"}}))

    def test_events_do_not_depend_on_how_the_reply_is_split(self):
        text = "Grüße\nWelt\ncall f\n".encode()
        seen = []
        for n in (1, 2, 3, 7, 1000):
            self._ask()
            self.data.reply(*[text[i : i + n] for i in range(0, len(text), n)])
            events, error = self.data.events()
            self.assertIsNone(error)
            seen.append(events)
        self.assertTrue(all(s == seen[0] for s in seen))
        self.assertEqual([e["type"].split(".", 1)[1] for _, e in seen[0]], [
            "output_item.added", "content_part.added", "output_text.delta", "output_text.delta", "output_text.done",
            "content_part.done", "output_item.done", "output_item.added", "function_call_arguments.delta",
            "function_call_arguments.done", "output_item.done", "completed",
        ])
        flags, last = seen[0][-1]
        self.assertEqual((flags, last["response"]["usage"]["total_tokens"], last["response"]["model"]), (3, 7, "lines-1"))

    def test_an_event_leaves_before_the_reply_ends(self):
        self._ask()
        self.data.reply(b"one\n", end=None)
        self.assertEqual(self.data.next()[0], 17)
        self.data.send(5)
        _, error = self.data.events()
        self.assertIsNone(error)

    def test_errors_end_the_exchange_only(self):
        self.data.request("generate", {}, model="refused")
        kind, error = self.data.next()
        self.assertEqual((kind, json.loads(error)["param"]), (18, "model"))
        self._ask()
        self.data.reply(b"boom\n", b"more\n")
        events, error = self.data.events()
        self.assertEqual((events, error["code"]), ([], "internal"))
        self._ask()
        self.data.reply(b"oops", status=500)
        self.assertEqual(self.data.events()[1]["message"], "The provider answered 500.")
        self._ask()
        self.data.reply(b"par", end=json.dumps({"cut": "x", "error": {"code": "upstream_timeout", "message": "Late."}}).encode())
        self.assertEqual(self.data.events()[1]["code"], "upstream_timeout")
        self._ask()
        self.data.reply(b"ok\n")
        self.assertIsNone(self.data.events()[1])

    def test_vectors_and_counts(self):
        self.data.request("embed", {"input": ["a", "b"]})
        self.data.up_req()
        self.data.reply(b"{}")
        kind, payload = self.data.next()
        n = struct.unpack_from(">I", payload)[0]
        self.assertEqual(json.loads(payload[4 : 4 + n]), {"vectors": 2, "dimensions": 2, "usage": {"input_tokens": 3}})
        self.assertEqual((kind, struct.unpack("<4f", payload[4 + n :])), (20, (0.5, 1.0, 2.0, -1.0)))
        self.assertEqual(self.data.next()[0], 19)
        self.data.request("count_tokens", {})
        self.data.up_req()
        self.data.reply(b"12345")
        self.assertEqual(self.data.next(), (21, b'{"tokens":5}'))

    def test_cancel_is_close(self):
        self._ask(model="silent")
        self.data.reply()
        self.data.close()
        end = time.monotonic() + 5
        while not any("saw the cancel" in line for line in self.p.log):
            self.assertLess(time.monotonic(), end, "the exchange did not end")
            time.sleep(0.01)

    def test_a_wrong_token_is_not_let_in(self):
        data = self.p.data(token=b"wrong")
        data.request("generate", {})
        with self.assertRaises((EOFError, ConnectionError)):
            data.next()
        data.close()

    def test_more_connections_than_it_takes(self):
        with gateway.Plugin("provider_lines.py") as p:
            held = []
            for _ in range(128):
                held.append(p.data())
                held[-1].request("generate", {})
                held[-1].up_req()
            with self.assertRaises(grpc.RpcError) as refused:
                p.data()
            self.assertEqual(refused.exception.code(), grpc.StatusCode.RESOURCE_EXHAUSTED)
            held.pop().close()
            self._again(p)
            for data in held:
                data.close()

    def test_it_has_descriptors_again(self):
        with gateway.Plugin("provider_lines.py") as p:
            pid = p.process.pid
            few = len(os.listdir("/proc/%d/fd" % pid)) + 8
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (few, few))
            held = [p.data() for _ in range(16)]  # more than there are descriptors
            p.wait_log("cannot be accepted")
            for data in held:
                data.close()
            self._again(p)

    def _again(self, p):
        """An exchange goes well, as soon as the plugin has seen that others ended."""
        end = time.monotonic() + 10
        while True:
            try:
                data = p.data()
                break
            except grpc.RpcError:
                self.assertLess(time.monotonic(), end)
                time.sleep(0.01)
        data.request("generate", {})
        data.up_req()
        data.reply(b"one\n")
        self.assertIsNone(data.events()[1])
        data.close()

    def test_back_pressure(self):
        self._ask()
        self.data.sock.settimeout(0.5)
        sent, line = 0, b"x" * 1000 + b"\n"
        self.data.send(3, b'{"status":200}')
        try:
            while sent < 64 << 20:
                self.data.send(4, line * 32)
                sent += 32 * len(line)
        except TimeoutError:
            pass
        except OSError as e:
            self.assertIn("timed out", str(e))
        self.assertLess(sent, 8 << 20, "the plugin read on although nobody takes its events")


if __name__ == "__main__":
    unittest.main()

import json
import os
import signal
import subprocess
import sys
import time
import unittest

import grpc

import gateway


class Boot(unittest.TestCase):
    def test_describe_prints_one_line_whatever_else_is_printed(self):
        out, err, code = gateway.describe("tool_everything.py")
        want = {
            "kind": "tool", "protocol": 1,
            "manifest": {"type": "everything", "version": "1.0.0", "targets": ["service"], "config": {"type": "object"}},
        }
        self.assertEqual((json.loads(out), out.count("\n"), code), (want, 1, 0))
        self.assertIn("printed while it was loaded", err)

    def test_by_hand_it_says_what_it_is(self):
        run = subprocess.run(
            [sys.executable, os.path.join(gateway.HERE, "provider_lines.py")],
            env=gateway.environment(), capture_output=True, timeout=30,
        )
        self.assertEqual((run.returncode, run.stdout), (1, b""))
        self.assertIn(b"is a provider plugin of the Sallyport gateway", run.stderr)

    def test_prints_become_log_lines(self):
        with gateway.Plugin("tool_everything.py") as p:
            next(p.open().frames)
            p.stop()
            p._reader.join(5)
            lines = [json.loads(line) for line in p.log if line.startswith("{")]
        printed = [line["line"] for line in lines if line["@level"] == "warn"]
        self.assertEqual(printed, ["printed while it was loaded", "printed in open"])

    def test_ends_when_asked_and_leaves_no_socket(self):
        for program in "tool_everything.py", "provider_lines.py":
            with gateway.Plugin(program) as p:
                self.assertEqual(p.stop(), 0)
                self.assertEqual(os.listdir(p.dir), [])

    def test_interrupt_is_the_gateways_affair(self):
        with gateway.Plugin("tool_everything.py") as p:
            p.process.send_signal(signal.SIGINT)
            self.assertEqual(p.unary("/grpc.health.v1.Health/Check", b"\x0a\x06plugin"), b"\x08\x01")
            p.process.send_signal(signal.SIGTERM)
            self.assertEqual(p.process.wait(10), 0)

    def test_health_of_another_service(self):
        with gateway.Plugin("tool_everything.py") as p:
            with self.assertRaises(grpc.RpcError) as caught:
                p.unary("/grpc.health.v1.Health/Check", b"\x0a\x05other")
            self.assertEqual(caught.exception.code(), grpc.StatusCode.NOT_FOUND)

    def test_settings(self):
        with gateway.Plugin("tool_everything.py") as p:
            with self.assertRaises(grpc.RpcError) as caught:
                p.configure({"bad": 1})
            self.assertEqual(caught.exception.details(), "bad is no setting")
            p.configure({"units": "metric"})
            kind, result = p.call("settings_").next()
            self.assertEqual((kind, result.content[0].text), ("result", "{'units': 'metric'}"))
        with gateway.Plugin("provider_lines.py") as p:
            p.configure({})
            with self.assertRaises(grpc.RpcError) as caught:
                p.configure({"units": "metric"})
            self.assertEqual(caught.exception.code(), grpc.StatusCode.INVALID_ARGUMENT)

    def test_ends_when_the_gateway_is_gone(self):
        parent = subprocess.Popen(
            [sys.executable, "-c", "import gateway; p = gateway.Plugin('tool_everything.py'); print(p.process.pid, p.dir, flush=True); input()"],
            env=dict(gateway.environment(), PYTHONPATH=gateway.SRC + ":" + gateway.HERE),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )
        pid, directory = parent.stdout.readline().split()
        parent.kill()
        parent.wait()
        parent.stdin.close()
        parent.stdout.close()
        end = time.monotonic() + 10
        while os.listdir(directory) and time.monotonic() < end:
            time.sleep(0.05)
        self.assertEqual(os.listdir(directory), [])
        os.rmdir(directory)


if __name__ == "__main__":
    unittest.main()

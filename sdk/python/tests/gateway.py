"""A gateway for tests: starts a plugin program the way the real one does and
speaks to it."""

import json
import os
import queue
import select
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

import grpc

HERE = os.path.dirname(os.path.abspath(__file__))
SRC = os.path.join(os.path.dirname(HERE), "src")
sys.path.insert(0, SRC)

from sallyport_plugin._proto import base_pb2, provider_pb2, tool_pb2  # noqa: E402


def environment(**more):
    env = {k: v for k, v in os.environ.items() if k in ("PATH", "LANG")}
    return dict(env, PYTHONPATH=SRC, **more)


def describe(program):
    """What `<program> describe` prints, and what it says on stderr."""
    run = subprocess.run(
        [sys.executable, os.path.join(HERE, program), "describe"],
        env=environment(), capture_output=True, timeout=30,
    )
    return run.stdout.decode(), run.stderr.decode(), run.returncode


class Plugin:
    """A running plugin process; use it with `with`."""

    def __init__(self, program, **env):
        self.dir = tempfile.mkdtemp(prefix="sp")
        self.process = subprocess.Popen(
            [sys.executable, os.path.join(HERE, program)],
            env=environment(
                SALLYPORT_PLUGIN="a-gate-is-known-by-who-may-pass", PLUGIN_PROTOCOL_VERSIONS="1",
                PLUGIN_UNIX_SOCKET_DIR=self.dir, SALLYPORT_HOST_PID=str(os.getpid()), **env,
            ),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        self.log = []
        self._reader = threading.Thread(target=self._read_log, daemon=True)
        self._reader.start()
        ready, _, _ = select.select([self.process.stdout], [], [], 20)
        self.handshake = self.process.stdout.readline().decode().strip() if ready else ""
        parts = self.handshake.split("|")
        if len(parts) < 5:
            self.close()
            raise AssertionError("no handshake: %r\n%s" % (self.handshake, "\n".join(self.log)))
        big = [("grpc.max_receive_message_length", 36 << 20), ("grpc.max_send_message_length", 36 << 20)]
        self.channel = grpc.insecure_channel("unix:" + parts[3], options=big)

    def _read_log(self):
        for line in self.process.stderr:
            self.log.append(line.decode().rstrip("\n"))

    def wait_log(self, words):
        """Waits for a line of the plugin's log."""
        end = time.monotonic() + 10
        while not any(words in line for line in self.log):
            if time.monotonic() > end:
                raise AssertionError("no line with %r in the log:\n%s" % (words, "\n".join(self.log)))
            time.sleep(0.01)

    def unary(self, method, request=b"", answer=None):
        serialize = None if isinstance(request, bytes) else lambda m: m.SerializeToString()
        call = self.channel.unary_unary(method, request_serializer=serialize, response_deserializer=answer)
        return call(request, timeout=10)

    def configure(self, settings):
        return self.unary(
            "/sallyport.base.v1.Base/Configure", base_pb2.ConfigureRequest(json=json.dumps(settings).encode()),
            base_pb2.ConfigureResponse.FromString,
        )

    def open(self, *declarations):
        frame = tool_pb2.ToPlugin(open=tool_pb2.OpenRequest(declarations=list(declarations)))
        return Stream(self.channel, "Open", frame)

    def call(self, function, arguments=None, **fields):
        fields.update(id="call_1", function=function, arguments=json.dumps(arguments or {}).encode(), attempt=1)
        return Stream(self.channel, "Call", tool_pb2.ToPlugin(call=tool_pb2.CallRequest(**fields)))

    def data(self, token=None):
        """Opens a data connection."""
        answer = self.unary(
            "/sallyport.provider.v1.Provider/OpenData", provider_pb2.OpenDataRequest(frames=1),
            provider_pb2.OpenDataResponse.FromString,
        )
        return Data(answer.socket, answer.token if token is None else token)

    def stop(self):
        """Asks the plugin to end; gives its exit status."""
        self.unary("/plugin.GRPCController/Shutdown")
        return self.process.wait(10)

    def close(self):
        self.process.kill()
        self.process.wait()
        self._reader.join(5)
        self.process.stdout.close()
        self.process.stderr.close()
        shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.channel.close()
        self.close()


class Stream:
    """One Open or Call."""

    def __init__(self, channel, method, first):
        self._out = queue.SimpleQueue()
        self._out.put(first)
        start = channel.stream_stream(
            "/sallyport.tool.v1.Tool/" + method,
            request_serializer=lambda m: m.SerializeToString(), response_deserializer=tool_pb2.ToGateway.FromString,
        )
        self.frames = start(iter(self._out.get, None), timeout=20)

    def send(self, **frame):
        self._out.put(tool_pb2.ToPlugin(**frame))

    def next(self):
        """The next frame as (kind, value)."""
        frame = next(self.frames)
        kind = frame.WhichOneof("frame")
        return kind, getattr(frame, kind)

    def end(self, id, **answer):
        self.send(end=tool_pb2.HostEnd(id=id, **answer))

    def cancel(self):
        self.frames.cancel()
        self._out.put(None)


class Data:
    """One data connection, from the gateway's end."""

    def __init__(self, path, token):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(path)
        self.sock.settimeout(10)
        self.send(1, b"\x01" + token)

    def send(self, kind, payload=b""):
        self.sock.sendall(struct.pack(">IB", len(payload), kind) + payload)

    def request(self, op, body, **head):
        head = json.dumps(dict({"op": op, "account": {"name": "a"}, "model": "m"}, **head)).encode()
        self.send(2, struct.pack(">I", len(head)) + head + json.dumps(body).encode())

    def reply(self, *parts, status=200, end=b""):
        self.send(3, json.dumps({"status": status}).encode())
        for part in parts:
            self.send(4, part)
        if end is not None:
            self.send(5, end)

    def exactly(self, n):
        data = b""
        while len(data) < n:
            part = self.sock.recv(n - len(data))
            if not part:
                raise EOFError
            data += part
        return data

    def next(self):
        length, kind = struct.unpack(">IB", self.exactly(5))
        return kind, self.exactly(length)

    def up_req(self):
        kind, payload = self.next()
        if kind != 16:
            raise AssertionError((kind, payload))
        n = struct.unpack_from(">I", payload)[0]
        return json.loads(payload[4 : 4 + n]), payload[4 + n :]

    def events(self):
        """Events up to DONE, or the error of ERR."""
        events = []
        while True:
            kind, payload = self.next()
            if kind == 19:
                return events, None
            if kind == 18:
                return events, json.loads(payload)
            events.append((payload[0], json.loads(payload[1:])))

    def close(self):
        self.sock.close()

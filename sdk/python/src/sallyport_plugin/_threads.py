"""Threads with stacks of a size that fits what they do. The memory of a plugin
is bounded, and whole stacks count; but authors' code, and JSON that somebody
nested on purpose, need a deep one: CPython ends with a crash where the stack
ends before its own limit on recursion."""

import threading

_SMALL = 512 << 10  # bytes, of threads that only pass things on
_DEEP = 4 << 20  # bytes, of threads that run the author's code

_starting = threading.Lock()


def prepare():
    """Makes threads that others start, such as gRPC's, have a small stack."""
    threading.stack_size(_SMALL)


def start(name, run, deep=False):
    """Starts a daemon thread; deep when it runs the author's code."""
    thread = threading.Thread(target=run, name=name, daemon=True)
    with _starting:
        threading.stack_size(_DEEP if deep else _SMALL)
        try:
            thread.start()
        finally:
            threading.stack_size(_SMALL)

"""Log lines as the gateway reads them from a plugin's stderr."""

import json
import logging
import sys
from datetime import datetime, timezone

_LEVELS = {"WARNING": "warn", "CRITICAL": "error"}
_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}
_LONGEST = 6 << 10  # characters of one text; a line over 8 KiB would be cut in two


class _Lines(logging.Formatter):
    """One JSON object a line: level, message, and what `extra` holds."""

    def format(self, record):
        line = {
            "@level": _LEVELS.get(record.levelname, record.levelname.lower()),
            "@message": _clip(record.getMessage()),
            "@timestamp": datetime.fromtimestamp(record.created, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        }
        if record.name != "root":
            line["logger"] = record.name
        for name, value in vars(record).items():
            if name not in _OWN:
                line[name] = value
        if record.exc_info:
            error = record.exc_info[1]
            line["error"] = _clip("%s: %s" % (type(error).__name__, error))
            line["traceback"] = self.formatException(record.exc_info)[-4096:]
        return json.dumps(line, default=str)


def _clip(text):
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"


def to_stderr():
    """Makes `logging` write such lines to stderr, from level INFO on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Lines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)

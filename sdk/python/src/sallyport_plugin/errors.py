"""The one kind of error a client may see.

Its codes are a closed list that means the same in every process and language.
Any other exception reaches a client as "internal"; its text is only logged.
"""

import json
import logging

INVALID = "invalid"  # the request is wrong; param names the field
UNSUPPORTED = "unsupported"  # well-formed, but not offered here
UNAUTHENTICATED = "unauthenticated"  # no token, or one we do not know
DENIED = "denied"  # known caller, missing privilege
NOT_FOUND = "not_found"
TIMEOUT = "timeout"  # the client sent its body too slowly
CONFLICT = "conflict"
TOO_LARGE = "too_large"
RATE_LIMITED = "rate_limited"  # retry_after is set
BUDGET_EXCEEDED = "budget_exceeded"  # a budget of the gateway's is spent
OAUTH = "oauth"  # the user must log in first; the message holds the URL
CANCELED = "canceled"  # the caller went away
INTERNAL = "internal"  # our fault; the message never tells more
UPSTREAM_INVALID = "upstream_invalid"  # the provider refused the request
UPSTREAM_AUTH = "upstream_auth"  # the provider refused the gateway's credential
UPSTREAM_LIMITED = "upstream_limited"  # the provider's own limit or overload
UPSTREAM_FAILED = "upstream_failed"  # the provider failed, cut the reply, or sent garbage
UPSTREAM_TIMEOUT = "upstream_timeout"  # the provider did not answer in time
UNAVAILABLE = "unavailable"  # a part of the gateway is down; try again

CODES = frozenset(
    [INVALID, UNSUPPORTED, UNAUTHENTICATED, DENIED, NOT_FOUND, TIMEOUT, CONFLICT, TOO_LARGE, RATE_LIMITED]
    + [BUDGET_EXCEEDED, OAUTH, CANCELED, INTERNAL, UPSTREAM_INVALID, UPSTREAM_AUTH, UPSTREAM_LIMITED, UPSTREAM_FAILED, UPSTREAM_TIMEOUT]
    + [UNAVAILABLE]
)

_INTERNAL_MESSAGE = "The gateway met an internal error."


class PluginError(Exception):
    """An error for the client: a code of the list above and a sentence that
    says what is wrong and what to do about it, never with a secret in it."""

    def __init__(self, code, message, param="", retry_after=0.0, upstream=None):
        """retry_after is in seconds; upstream is what a model provider
        answered: {"status": 429, "request_id": "…", "code": "…"}."""
        super().__init__(message)
        self.code = code if code in CODES else INTERNAL
        self.message = message
        self.param = param
        self.retry_after = retry_after
        self.upstream = upstream

    def to_json(self):
        """The form used between processes."""
        out = {"code": self.code, "message": self.message}
        if self.param:
            out["param"] = self.param
        if self.retry_after:
            out["retry_after_ms"] = int(self.retry_after * 1000)
        if self.upstream:
            out["upstream"] = self.upstream
        return out


class Canceled(PluginError):
    """The call is not wanted any more. Let it pass: the gateway knows."""

    def __init__(self, message="The call was canceled."):
        super().__init__(CANCELED, message)


def encode(step, error):
    """The wire form of an exception, and a log line for what does not cross."""
    if not isinstance(error, PluginError):
        logging.getLogger("sallyport").error("internal error", exc_info=error, extra={"step": step})
        error = PluginError(INTERNAL, _INTERNAL_MESSAGE)
    return json.dumps(error.to_json()).encode()


def decode(data):
    """The exception that a wire form means."""
    try:
        j = json.loads(data)
        code, message = str(j.get("code", "")), str(j.get("message", ""))
        if code == CANCELED:
            return Canceled(message)
        return PluginError(code, message, str(j.get("param", "")), j.get("retry_after_ms", 0) / 1000, j.get("upstream"))
    except (ValueError, AttributeError, TypeError):
        return PluginError(INTERNAL, _INTERNAL_MESSAGE)

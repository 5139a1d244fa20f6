"""Well-formed events of a turn: items open and close one after another, parts
inside them, done events repeat what the deltas said, one terminal event ends
the turn."""

from . import errors


class Output:
    """Builds events. Each method gives the events to yield:

        out = Output()
        yield from out.text("Hel")
        yield from out.text("lo")
        yield from out.call("call_1", "get_weather")  # closes the message
        yield from out.arguments('{"city":"Oslo"}')
        out.usage(input=9, output=12)
        yield from out.finish()
    """

    def __init__(self):
        self._index = -1
        self._item = None  # the open item
        self._text = []  # of the open part, or the arguments of the open call
        self._usage = None
        self._untold = None  # usage that rides on the next event
        self._calls = set()

    def text(self, delta):
        """Adds to the answer's text."""
        return self._delta("message", "output_text", "response.output_text", "text", delta)

    def refusal(self, delta):
        """Adds to the model's explanation why it does not answer."""
        return self._delta("message", "refusal", "response.refusal", "refusal", delta)

    def reasoning(self, delta):
        """Adds to the model's reasoning in its own words."""
        return self._delta("reasoning", "reasoning_text", "response.reasoning", "text", delta)

    def call(self, call_id, name):
        """Begins a function call; ids differ within a turn and across turns."""
        events = self._close()
        if not call_id or call_id in self._calls:
            call_id = "call_%d" % (self._index + 1)
        self._calls.add(call_id)
        return events + self._open({"type": "function_call", "call_id": call_id, "name": name, "arguments": ""})

    def arguments(self, delta):
        """Adds to the arguments of the open call, JSON text."""
        if not self._item or self._item["type"] != "function_call":
            raise RuntimeError("arguments without an open call")
        if not delta:
            return []
        self._text.append(delta)
        return [self._event("response.function_call_arguments.delta", delta=delta)]

    def usage(self, input=0, output=0, cached=0, reasoning=0):
        """The turn's token counts so far, with totals as OpenResponses has
        them: input includes cached, output includes reasoning."""
        self._usage = {
            "input_tokens": input,
            "input_tokens_details": {"cached_tokens": cached},
            "output_tokens": output,
            "output_tokens_details": {"reasoning_tokens": reasoning},
            "total_tokens": input + output,
        }
        self._untold = self._usage

    def finish(self, status="completed", reason="", model="", error=None):
        """Closes what is open and ends the turn. status incomplete has a reason
        (max_output_tokens, content_filter), failed has an error, a PluginError."""
        events = self._close("incomplete" if status == "incomplete" else "completed")
        response = {"status": status}
        if reason:
            response["incomplete_details"] = {"reason": reason}
        if status == "failed":
            error = error or errors.PluginError(errors.UPSTREAM_FAILED, "The provider ended the turn without saying why.")
            response["error"] = error.to_json()
        if model:
            response["model"] = model
        if self._usage:
            response["usage"] = self._usage
        return events + [{"type": "response." + status, "response": response}]

    def _delta(self, item, part, event, member, delta):
        if not delta:
            return []
        events = []
        if not self._item or self._item["type"] != item or self._part != part:
            events = self._close()
            fields = {"type": item, "role": "assistant"} if item == "message" else {"type": item, "summary": []}
            events += self._open(dict(fields, content=[]))
            self._part, self._kind, self._member = part, event, member
            events.append(self._event("response.content_part.added", content_index=0, part=self._whole("")))
        self._text.append(delta)
        return events + [self._event(event + ".delta", content_index=0, delta=delta)]

    def _open(self, item):
        self._index += 1
        self._item = dict(item, status="in_progress")
        self._text = []
        return [self._event("response.output_item.added", item=self._item)]

    def _close(self, status="completed"):
        if not self._item:
            return []
        whole, item = "".join(self._text), dict(self._item, status=status)
        if item["type"] == "function_call":
            events = [self._event("response.function_call_arguments.done", arguments=whole)]
            item["arguments"] = whole
        else:
            part = self._whole(whole)
            events = [
                self._event(self._kind + ".done", content_index=0, **{self._member: whole}),
                self._event("response.content_part.done", content_index=0, part=part),
            ]
            item["content"] = [part]
        self._item = None
        return events + [self._event("response.output_item.done", item=item)]

    def _whole(self, text):
        """The open part with all its text."""
        member = "refusal" if self._part == "refusal" else "text"
        part = {"type": self._part, member: text}
        if self._part == "output_text":
            part["annotations"] = []
        return part

    def _event(self, type, **members):
        event = dict({"type": type, "output_index": self._index}, **members)
        if self._untold:
            event["usage"], self._untold = self._untold, None
        return event

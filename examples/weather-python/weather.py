"""A plugin of the Sallyport gateway that serves the tool type "weather_py":
forecasts by place, from wttr.in or a service like it. The service is its target
"weather", whose address and key only the gateway knows."""

from urllib.parse import quote

from sallyport_plugin import PluginError, tool

MANIFEST = tool.Manifest(
    type="weather_py",
    version="1.0.0",
    targets=["weather"],
    config={
        "type": "object",
        "properties": {
            "units": {"enum": ["metric", "imperial"], "default": "metric", "description": "°C or °F"},
        },
        "additionalProperties": False,
    },
)

_ANY_PLACE = {
    "type": "object",
    "required": ["place"],
    "additionalProperties": False,
    "properties": {"place": {"type": "string", "description": "City or place, such as Oslo"}},
}
_NO_ARGUMENTS = {"type": "object", "properties": {}, "additionalProperties": False}


class Weather:
    """The tool. Its only state is the operator's choice of units."""

    fahrenheit = False

    def configure(self, settings):
        self.fahrenheit = settings.get("units") == "imperial"

    def open(self, declarations, host):
        """Gives one function for each declaration. {"type": "weather_py"} lets
        the model choose the place; with "weather_py": {"place": "Oslo"} beside
        it the place is chosen."""
        functions = []
        for d in declarations:
            place = d.spec.get("place", "")
            if not isinstance(place, str):
                param = "tools[%d].weather_py.place" % d.index
                raise PluginError("invalid", "The place must be a string, such as Oslo.", param=param)
            functions.append(
                tool.Function(
                    declaration=d.index,
                    name="weather.forecast",
                    description="Weather forecast for %s: now and the next three days." % (place or "a place"),
                    parameters=_NO_ARGUMENTS if place else _ANY_PLACE,
                    effect=tool.READ_ONLY,
                    state=place.encode(),
                )
            )
        return functions

    def call(self, call, host):
        """Fetches a forecast. What the model can mend is a result that says so."""
        place = call.state.decode() or call.arguments.get("place", "")
        if not isinstance(place, str) or not place.strip(" ."):
            return tool.failed('"place" is missing: name a city.')
        place = place.strip()
        with host.fetch("weather", path=quote(place, safe=""), query="format=j1") as reply:
            if reply.status == 404:
                return tool.failed('The weather service does not know "%s".' % place)
            if reply.status != 200:
                raise PluginError("upstream_failed", "The weather service answered %d." % reply.status)
            forecast = reply.json(limit=1 << 20)
        try:
            return self._tell(place, forecast)
        except (KeyError, IndexError, TypeError):
            raise PluginError("upstream_failed", "The weather service sent no forecast.") from None

    def _tell(self, place, forecast):
        """Writes a forecast for the model."""
        unit = "F" if self.fahrenheit else "C"
        now = forecast["current_condition"][0]
        text = "Weather in %s: " % place
        text += "".join(d["value"] + ", " for d in now["weatherDesc"])
        text += "%s °%s now." % (now["temp_" + unit], unit)
        for day in forecast["weather"]:
            text += "\n%s: %s to %s °%s." % (day["date"], day["mintemp" + unit], day["maxtemp" + unit], unit)
        return text

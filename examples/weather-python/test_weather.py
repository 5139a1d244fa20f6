"""`.venv/bin/python -m unittest` runs this; `sallyport plugin test .` plays the
dialogues of testdata against the real process."""

import json
import unittest
from types import SimpleNamespace

from sallyport_plugin import PluginError, tool

import weather

FORECAST = {
    "current_condition": [{"temp_C": "3", "temp_F": "37", "weatherDesc": [{"value": "Light rain"}]}],
    "weather": [{"date": "2026-11-21", "maxtempC": "6", "maxtempF": "43", "mintempC": "-2", "mintempF": "28"}],
}


class Host:
    """Plays the gateway: it answers every fetch with one reply."""

    def __init__(self, status=200, body=None):
        self.status = status
        self.body = FORECAST if body is None else body
        self.asked = []

    def fetch(self, target, path="", query=""):
        self.asked.append((target, path, query))
        return self

    def json(self, limit):
        return json.loads(json.dumps(self.body))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


def call(host, place="Oslo", settings=None):
    w = weather.Weather()
    w.configure(settings or {})
    return w.call(tool.Call("call_1", "weather.forecast", {"place": place}, b"", 1), host)


class Weather(unittest.TestCase):
    def test_forecast(self):
        host = Host()
        self.assertEqual(call(host, "New York"), "Weather in New York: Light rain, 3 °C now.\n2026-11-21: -2 to 6 °C.")
        self.assertEqual(host.asked, [("weather", "New%20York", "format=j1")])
        self.assertIn("37 °F", call(host, settings={"units": "imperial"}))

    def test_what_the_model_can_mend(self):
        for host, place, says in [(Host(404), "Nowhere", "does not know"), (Host(), " ", "missing"), (Host(), "..", "missing")]:
            result = call(host, place)
            self.assertTrue(result.is_error)
            self.assertIn(says, result.content[0].text)

    def test_what_it_cannot(self):
        for host in Host(503), Host(body={}), Host(body=[]):
            with self.assertRaises(PluginError) as caught:
                call(host)
            self.assertEqual(caught.exception.code, "upstream_failed")

    def test_open(self):
        w = weather.Weather()
        d = tool.Declaration(2, "", "", "", {"place": 7})
        with self.assertRaises(PluginError) as caught:
            w.open([d], SimpleNamespace())
        self.assertEqual(caught.exception.param, "tools[2].weather_py.place")
        d.spec = {"place": "Oslo"}
        self.assertEqual(w.open([d], SimpleNamespace())[0].state, b"Oslo")


if __name__ == "__main__":
    unittest.main()

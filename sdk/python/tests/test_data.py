import os
import tempfile
import types
import unittest

from sallyport_plugin import _data


class Tokens(unittest.TestCase):
    """A table of tokens that is full drops the oldest and refuses nobody."""

    def test_oldest_gives_way(self):
        with tempfile.TemporaryDirectory() as directory:
            data = _data.DataPlane(None, directory, os.getpid())
            self.addCleanup(data.close)

            def ask():
                return data.open_data(types.SimpleNamespace(frames=1), self.fail, self.fail).token

            given = [ask() for _ in range(_data._TOKENS + 2)]
            self.assertEqual(list(data._tokens), given[2:])
            for token in given[2:]:
                data._tokens[token] -= 2 * _data._TOKEN_LIFE  # their life is over
            last = ask()
            self.assertEqual(list(data._tokens), [last])


if __name__ == "__main__":
    unittest.main()

"""Our reader of TOML against Python's own, where there is one."""

from __future__ import annotations

import unittest
from pathlib import Path

from sconce_export import _toml

try:
    import tomllib
except ImportError:
    tomllib = None  # type: ignore[assignment]

ROOT = Path(__file__).resolve().parents[2]

TEXTS = [
    "",
    "# only\n\n  # comments",
    'a = 1\nb = -2\nc = 1_000\nd = 0x1F\ne = 1e-3\nf = 2.5\ng = true # yes\nh = false\nd2 = "30s"',
    'a = "quo\\"te # no comment"\nb = \'C:\\new\'\nc = "\\u00fc\\U0001F600\\\\\\t"\n"quoted key" = "x\ty"\n',
    "labels = [\n  'a', # one\n  \"b\",\n]\nempty = []\nnested = [[1, 2], [3]]\n",
    'a.b.c = 1\na.d = 2\n[batching]\nmax_batch_size = 64\n[limits]\r\ntimeout = "1s"\r\n',
    '[[inputs]]\nname = "x"\nshape = [-1, 4]\n\n[[inputs]]\nname = "y"\nshape = []\npad = 0\n[inputs.more]\nz = 1.5\n',
]
FAULTY = [
    "a",
    "a =",
    "a = [1",
    'a = "b',
    "a = 1 b = 2",
    "a = 1\na = 2",
    "[a",
    "[[a]",
    "= 1",
    "a = 1\n[a]\n",
    'a = "\\q"',
    "a = [1 2]",
]


@unittest.skipUnless(tomllib, "this Python cannot read TOML itself")
class Toml(unittest.TestCase):
    def test_it_reads_what_python_reads(self):
        files = [*ROOT.glob("models/*/model.toml"), *ROOT.glob("tests/fixtures/models/*/model.toml")]
        for text in [*TEXTS, *[path.read_text() for path in files]]:
            with self.subTest(text=text):
                self.assertEqual(_toml.loads(text), tomllib.loads(text))

    def test_it_refuses_what_python_refuses(self):
        for text in FAULTY:
            with self.subTest(text=text):
                with self.assertRaises(ValueError):
                    tomllib.loads(text)
                with self.assertRaises(_toml.TomlError):
                    _toml.loads(text)

    def test_what_it_does_not_read_it_names(self):
        for text in ('a = """b"""', "a = {b = 1}", "a = 2020-01-01"):
            with self.subTest(text=text), self.assertRaisesRegex(_toml.TomlError, "line 1: "):
                _toml.loads(text)


if __name__ == "__main__":
    unittest.main()

"""Reads the part of TOML that model.toml is written in, for Pythons before 3.11, which read none.

Keys, tables, lists of tables, and texts, numbers, booleans and lists as values. Dates, inline tables and texts over
several lines are refused: no key of model.toml needs them.
"""

from __future__ import annotations

import json
import re
from typing import Any

_NUMBER = re.compile(
    r"[+-]?(0x[0-9A-Fa-f_]+|0o[0-7_]+|0b[01_]+|[0-9][0-9_]*(\.[0-9_]+)?([eE][+-]?[0-9_]+)?|inf|nan)(?![\w.:-])"
)
_BLANK = re.compile(r"[ \t]*(#[^\n]*)?")
_BLANKS = re.compile(r"([ \t\r\n]|#[^\n]*)*")
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_BASIC = re.compile(r'"(?:[^"\\\n]|\\.)*"')
_LITERAL = re.compile(r"'[^'\n]*'")


class TomlError(ValueError):
    """Text that is no TOML, or more of it than is read here, with its line."""


def loads(text: str) -> dict[str, Any]:
    """The keys of a document.

    Raises:
        TomlError: it cannot be read.
    """
    return _Reader(text.replace("\r\n", "\n")).document()


class _Reader:
    def __init__(self, text: str):
        self.text = text
        self.at = 0

    def document(self) -> dict[str, Any]:
        root: dict[str, Any] = {}
        table = root
        while True:
            self.match(_BLANKS)
            if self.at == len(self.text):
                return root
            if self.take("[["):
                table = self.list_of_tables(root)
            elif self.take("["):
                table = self.inside(root, self.keys("]"))
            else:
                *outer, last = self.keys("=")
                target = self.inside(table, outer)
                if last in target:
                    raise self.fault(f"key {last!r} is given twice")
                target[last] = self.value()
            self.match(_BLANK)
            if self.at < len(self.text) and not self.take("\n"):
                raise self.fault("expected the end of the line")

    def list_of_tables(self, root: dict[str, Any]) -> dict[str, Any]:
        *outer, last = self.keys("]]")
        tables = self.inside(root, outer).setdefault(last, [])
        if not isinstance(tables, list):
            raise self.fault(f"key {last!r} is no list of tables")
        tables.append({})
        return tables[-1]

    def inside(self, table: dict[str, Any], keys: list[str]) -> dict[str, Any]:
        for key in keys:
            inner = table.setdefault(key, {})
            inner = inner[-1] if isinstance(inner, list) and inner else inner
            if not isinstance(inner, dict):
                raise self.fault(f"key {key!r} is no table")
            table = inner
        return table

    def keys(self, end: str) -> list[str]:
        keys = []
        while True:
            self.match(_BLANK)
            keys.append(self.string() if self.peek() in ('"', "'") else self.need(_BARE, "a key"))
            self.match(_BLANK)
            if self.take(end):
                self.match(re.compile(r"[ \t]*"))
                return keys
            if not self.take("."):
                raise self.fault(f"expected {end!r}")

    def value(self) -> Any:
        if self.peek() in ('"', "'"):
            return self.string()
        if self.take("["):
            return self.items()
        for word, value in (("true", True), ("false", False)):
            if self.take(word):
                return value
        text = self.need(_NUMBER, "a text, a number, a boolean or a list").replace("_", "")
        is_float = not text.lstrip("+-").startswith("0x") and any(mark in text for mark in ".eEin")
        return float(text) if is_float else int(text, 0)

    def items(self) -> list[Any]:
        items = []
        while True:
            self.match(_BLANKS)
            if self.take("]"):
                return items
            items.append(self.value())
            self.match(_BLANKS)
            if not self.take(",") and self.peek() != "]":
                raise self.fault("expected ',' or ']'")

    def string(self) -> str:
        if self.text.startswith(('"""', "'''"), self.at):
            raise self.fault("a text over several lines is not read here")
        if self.peek() == "'":
            return self.need(_LITERAL, "a closing quote")[1:-1]
        text = self.need(_BASIC, "a closing quote")
        # JSON has the same escapes but for the long ones.
        text = re.sub(
            r"(?<!\\)((?:\\\\)*)\\U([0-9A-Fa-f]{8})", lambda it: it[1] + json.dumps(chr(int(it[2], 16)))[1:-1], text
        )
        try:
            return json.loads(text.replace("\t", "\\t"))
        except ValueError as error:
            raise self.fault(str(error)) from error

    def match(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self.text, self.at)
        if found is None:
            return ""
        self.at = found.end()
        return found[0]

    def need(self, pattern: re.Pattern[str], what: str) -> str:
        found = self.match(pattern)
        if not found:
            raise self.fault(f"expected {what}")
        return found

    def take(self, text: str) -> bool:
        is_there = self.text.startswith(text, self.at)
        self.at += len(text) if is_there else 0
        return is_there

    def peek(self) -> str:
        return self.text[self.at : self.at + 1]

    def fault(self, what: str) -> TomlError:
        line = self.text.count("\n", 0, self.at) + 1
        return TomlError(f"line {line}: {what}")

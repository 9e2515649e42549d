"""YAML and JSON read into values that know the line they stand on."""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, ScalarNode, SequenceNode
from ruamel.yaml.nodes import Node as YamlNode

from podium.model.spec import JsonValue

MAX_YAML_BYTES = 1024 * 1024
MAX_JSON_BYTES = 16 * 1024 * 1024
MAX_NODES = 500_000
MAX_DEPTH = 50

Content: TypeAlias = "str | int | float | bool | list[Located] | dict[str, Located] | None"

_TAG = "tag:yaml.org,2002:"
_JSON_SPACE = re.compile(r"[ \t\n\r]*")


@dataclass(frozen=True, slots=True)
class Located:
    """A value and its line, counted from 1; for an object also the lines of its keys."""

    content: Content
    line: int
    key_lines: dict[str, int] = field(default_factory=dict)

    def plain(self) -> JsonValue:
        """Return the value without lines."""
        if isinstance(self.content, list):
            return [item.plain() for item in self.content]
        if isinstance(self.content, dict):
            return {key: item.plain() for key, item in self.content.items()}
        return self.content


class UnreadableError(Exception):
    """The text is no YAML or JSON, or of a kind that is not read; `line` counts from 1, 0 where none is known."""

    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        self.line = line


def read_yaml(text: str) -> Located:
    """Return the one document in YAML 1.2; dates stay text.

    Raises:
        UnreadableError: It is no YAML, is over 1 MiB, or uses tags, merge keys or keys that are no text.
    """
    if len(text) > MAX_YAML_BYTES:
        raise UnreadableError(
            f"It has {len(text):,} characters; the limit for YAML is {MAX_YAML_BYTES:,}. Use JSON.", 0
        )
    try:
        root = YAML(typ="safe", pure=True).compose(text)
    except MarkedYAMLError as error:
        line = 0 if error.problem_mark is None else error.problem_mark.line + 1
        raise UnreadableError(f"It is no YAML: {error.problem or error.context}.", line) from None
    except YAMLError as error:
        told = str(error).partition("\n")[0]
        raise UnreadableError(f"It is no YAML: {told}.", 0) from None
    if root is None:
        raise UnreadableError("It is empty.", 0)
    return _YamlReader().read(root, 0)


class _YamlReader:
    """Counts what it reads, since aliases may repeat a part without end."""

    def __init__(self) -> None:
        self._left = MAX_NODES

    def read(self, node: YamlNode, depth: int) -> Located:
        line = node.start_mark.line + 1
        self._left -= 1
        if self._left < 0 or depth > MAX_DEPTH:
            raise UnreadableError(f"It has more than {MAX_NODES:,} values, or nests deeper than {MAX_DEPTH}.", line)
        if isinstance(node, SequenceNode):
            return Located([self.read(item, depth + 1) for item in node.value], line)
        if isinstance(node, MappingNode):
            return self._mapping(node, line, depth)
        return Located(_scalar(str(node.value), str(node.tag), line), line)

    def _mapping(self, node: MappingNode, line: int, depth: int) -> Located:
        content: dict[str, Located] = {}
        lines: dict[str, int] = {}
        for key, value in node.value:
            name = _key(key)
            if name in content:
                raise UnreadableError(f"The key {name!r} is there twice; first on line {lines[name]}.", _line(key))
            lines[name] = _line(key)
            found = self.read(value, depth + 1)
            content[name] = Located(None, lines[name]) if found.content is None else found
        return Located(content, line, lines)


def _line(node: YamlNode) -> int:
    line: int = node.start_mark.line + 1
    return line


def _key(node: YamlNode) -> str:
    if not isinstance(node, ScalarNode) or str(node.tag) != f"{_TAG}str":
        shown = node.value if isinstance(node, ScalarNode) else "a list or an object"
        raise UnreadableError(f"The key {shown} is no text; put it into quotes.", _line(node))
    return str(node.value)


def _scalar(text: str, tag: str, line: int) -> Content:
    match tag.removeprefix(_TAG):
        case "str" | "timestamp":
            return text
        case "int":
            return _integer(text)
        case "float" if text.lstrip("+-").lower() not in (".inf", ".nan"):
            return float(text.replace("_", ""))
        case "bool":
            return text.lower() == "true"
        case "null":
            return None
        case _:
            raise UnreadableError(f"{text} has the tag {tag}, or is no JSON number; put it into quotes.", line)


def _integer(text: str) -> int:
    digits = text.replace("_", "")
    return int(digits, 0) if digits.lstrip("+-")[:2] in ("0x", "0o", "0b") else int(digits)


def read_json(text: str) -> Located:
    """Return the JSON value.

    Raises:
        UnreadableError: It is no JSON, or over 16 MiB.
    """
    if len(text) > MAX_JSON_BYTES:
        raise UnreadableError(f"It has {len(text):,} characters; the limit for JSON is {MAX_JSON_BYTES:,}.", 0)
    return _JsonReader(text).read_all()


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON")


class _JsonReader:
    """Takes objects and arrays apart, noting lines; leaves text and numbers to `json`."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._position = 0
        self._breaks = [match.start() for match in re.finditer("\n", text)]
        self._decoder = json.JSONDecoder(parse_constant=_refuse_constant)

    def read_all(self) -> Located:
        found = self._value(0)
        if self._peek():
            raise self._error("Something follows the value")
        return found

    def _value(self, depth: int) -> Located:
        start = self._peek()
        line = self._line()
        if depth > MAX_DEPTH:
            raise UnreadableError(f"It nests deeper than {MAX_DEPTH}.", line)
        if start == "{":
            return self._object(line, depth)
        if start == "[":
            return Located([self._value(depth + 1) for _ in self._parts("]")], line)
        return Located(self._scalar(), line)

    def _object(self, line: int, depth: int) -> Located:
        content: dict[str, Located] = {}
        lines: dict[str, int] = {}
        for _ in self._parts("}"):
            if self._peek() != '"':
                raise self._error("A key in quotes is missing")
            key_line = self._line()
            name = str(self._scalar())
            if name in content:
                raise UnreadableError(f"The key {name!r} is there twice; first on line {lines[name]}.", key_line)
            self._expect(":")
            lines[name] = key_line
            content[name] = self._value(depth + 1)
        return Located(content, line, lines)

    def _parts(self, end: str) -> Iterator[None]:
        """Step over the opening bracket, stop before each part, and step over commas and the closing bracket."""
        self._position += 1
        if self._peek() == end:
            self._position += 1
            return
        while True:
            yield
            if self._peek() == end:
                self._position += 1
                return
            self._expect(",")

    def _scalar(self) -> Any:
        try:
            value, self._position = self._decoder.raw_decode(self._text, self._position)
        except json.JSONDecodeError as error:
            raise UnreadableError(f"It is no JSON: {error.msg}.", error.lineno) from None
        except ValueError as error:
            raise self._error(str(error)) from None
        return value

    def _expect(self, character: str) -> None:
        if self._peek() != character:
            raise self._error(f"A {character!r} is missing")
        self._position += 1

    def _peek(self) -> str:
        """Return the next character that is no space; empty at the end."""
        match = _JSON_SPACE.match(self._text, self._position)
        self._position = self._position if match is None else match.end()
        return self._text[self._position : self._position + 1]

    def _line(self) -> int:
        return bisect_right(self._breaks, self._position - 1) + 1

    def _error(self, message: str) -> UnreadableError:
        return UnreadableError(f"It is no JSON: {message}.", self._line())

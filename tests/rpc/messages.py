"""Arbitrary messages, made from descriptors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import strategies as st

DEPTH = 4
_INTS = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}
Words = Mapping[str, Sequence[str]]
"""By the name of a field, strings that mean something there; under "", strings that may stand anywhere."""

_NASTY = ("", "\0", "a\0b", "\n", "../..", "%s", "'; DROP TABLE run; --", "é" * 300, "x" * 3000, "\ud7ff\U0010ffff")


def messages(descriptor: Descriptor, words: Words, depth: int = DEPTH) -> st.SearchStrategy[Message]:
    """Messages of a type, nested `depth` deep; strings mean something as often as not."""
    fields = {field.name: _field(field, words, depth) for field in descriptor.fields if depth or not _nested(field)}
    chosen = st.fixed_dictionaries({}, optional=fields)
    return chosen.map(lambda values: _filled(descriptor, values))


def _nested(field: FieldDescriptor) -> bool:
    return field.message_type is not None


def _filled(descriptor: Descriptor, values: dict[str, Any]) -> Message:
    message = GetMessageClass(descriptor)()
    for name, value in values.items():
        field = descriptor.fields_by_name[name]
        if _is_map(field):
            _fill_map(getattr(message, name), value, nested=_entry(field)["value"].message_type)
        elif field.is_repeated:
            getattr(message, name).extend(value)
        elif _nested(field):
            getattr(message, name).CopyFrom(value)
        else:
            setattr(message, name, value)
    return message


def _fill_map(target: Any, values: dict[Any, Any], nested: Descriptor | None) -> None:
    for key, value in values.items():
        if nested is None:
            target[key] = value
        else:
            target[key].CopyFrom(value)


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def _entry(field: FieldDescriptor) -> Mapping[str, FieldDescriptor]:
    assert field.message_type is not None
    fields: Mapping[str, FieldDescriptor] = field.message_type.fields_by_name
    return fields


def _field(field: FieldDescriptor, words: Words, depth: int) -> st.SearchStrategy[Any]:
    if _is_map(field):
        entry = _entry(field)
        return st.dictionaries(_one(entry["key"], words, depth - 1), _one(entry["value"], words, depth - 1), max_size=2)
    one = _one(field, words, depth)
    return st.lists(one, max_size=3) if field.is_repeated else one


def _one(field: FieldDescriptor, words: Words, depth: int) -> st.SearchStrategy[Any]:
    if field.message_type is not None:
        descriptor = field.message_type
        return st.deferred(lambda: messages(descriptor, words, max(0, depth - 1)))
    return _SCALARS[field.cpp_type](field, words)


def _ints(field: FieldDescriptor, words: Words) -> st.SearchStrategy[Any]:
    least, most = _INTS[field.cpp_type]
    edges = [edge for edge in (least, most, 0, 1, -1, 100, 1000, 1001) if least <= edge <= most]
    return st.sampled_from(edges) | st.integers(least, most)


def _text(field: FieldDescriptor, words: Words) -> st.SearchStrategy[Any]:
    if field.type == FieldDescriptor.TYPE_BYTES:
        return st.binary(max_size=40)
    arbitrary = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
    anything = st.sampled_from([*words[""], *_NASTY]) | arbitrary
    fitting = words.get(field.name)
    return st.booleans().flatmap(lambda fits: st.sampled_from(fitting) if fitting and fits else anything)


_SCALARS: dict[int, Callable[[FieldDescriptor, Words], st.SearchStrategy[Any]]] = {
    **dict.fromkeys(_INTS, _ints),
    FieldDescriptor.CPPTYPE_STRING: _text,
    FieldDescriptor.CPPTYPE_BOOL: lambda *_: st.booleans(),
    FieldDescriptor.CPPTYPE_DOUBLE: lambda *_: st.floats() | st.integers(-9, 9).map(float),
    FieldDescriptor.CPPTYPE_FLOAT: lambda *_: st.floats(width=32),
    FieldDescriptor.CPPTYPE_ENUM: lambda *_: st.integers(1, 7) | st.integers(-2, 20),
}

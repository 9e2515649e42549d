"""Bundles made of source text."""

from __future__ import annotations

import io
import textwrap
import zipfile
from typing import Any

from tests.agent.peer import Assignment, Peer, an_assignment, literal


def a_bundle(peer: Peer, **modules: str) -> str:
    """Store a zip of modules given as text; return its name."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in modules.items():
            archive.writestr(f"{name}.py", textwrap.dedent(text))
    return peer.put(buffer.getvalue())


def a_call(bundle: str, function: str, *args: Any, bindings: Any = None, **fields: Any) -> Assignment:
    """Order a call of a function; `args` are literals, `bindings` keyword arguments."""
    arguments = {"args": [literal(arg) for arg in args], "kwargs": bindings or {}}
    return an_assignment(action={"function": function}, arguments=arguments, bundle=bundle, **fields)

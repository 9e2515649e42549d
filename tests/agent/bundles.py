"""Bundles made of source text."""

from __future__ import annotations

import io
import textwrap
import zipfile
from typing import Any

from podium.v1 import session_pb2, workflow_pb2
from tests.agent.peer import Peer, an_assignment, literal


def a_bundle(peer: Peer, **modules: str) -> str:
    """Store a zip of modules given as text; return its name."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in modules.items():
            archive.writestr(f"{name}.py", textwrap.dedent(text))
    return peer.put(buffer.getvalue())


def a_call(bundle: str, function: str, *args: Any, bindings: Any = None, **fields: Any) -> session_pb2.Assignment:
    """Order a call of a function; `args` are literals, `bindings` keyword arguments."""
    action = workflow_pb2.PythonAction(function=function, args=[literal(arg) for arg in args], kwargs=bindings or {})
    return an_assignment(python=action, bundle=bundle, **fields)

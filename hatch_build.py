"""Generates the podium.v1 stubs from protos/ when the package is built or installed for development."""

from importlib.metadata import distribution
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class StubsBuildHook(BuildHookInterface):  # type: ignore[type-arg]  # hatchling leaves its parameter open
    """Runs protoc with the Python, gRPC and typing plugins."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        del version, build_data
        from grpc_tools import protoc

        root = Path(self.root)
        out = root / "clients" / "python"
        (out / "podium" / "v1").mkdir(parents=True, exist_ok=True)
        status = protoc.main(
            [
                "protoc",
                f"--proto_path={root / 'protos'}",
                f"--proto_path={Path(protoc.__file__).parent / '_proto'}",
                f"--plugin=protoc-gen-mypy={typing_plugin('protoc-gen-mypy')}",
                f"--plugin=protoc-gen-mypy_grpc={typing_plugin('protoc-gen-mypy_grpc')}",
                f"--python_out={out}",
                f"--grpc_python_out={out}",
                f"--mypy_out=quiet:{out}",
                f"--mypy_grpc_out=quiet:{out}",
                *map(str, sorted((root / "protos").rglob("*.proto"))),
            ]
        )
        if status != 0:
            message = f"protoc failed with status {status}"
            raise RuntimeError(message)
        (out / "podium" / "v1" / "__init__.py").write_text('"""Generated from protos/podium/v1; do not edit."""\n')


def typing_plugin(name: str) -> Path:
    """Return the program `name` of the mypy-protobuf this build has, wherever its installer put it."""
    files = distribution("mypy-protobuf").files or []
    return next(Path(str(file.locate())).resolve() for file in files if file.name == name)

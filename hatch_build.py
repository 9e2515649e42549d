"""Generates the podium.v1 stubs from protos/ when the package is built or installed for development."""

import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class StubsBuildHook(BuildHookInterface):  # type: ignore[type-arg]  # hatchling leaves its parameter open
    """Runs protoc with the Python, gRPC and typing plugins."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        del version, build_data
        from grpc_tools import protoc

        root = Path(self.root)
        sources = sorted((root / "protos").rglob("*.proto"))
        out = root / "clients" / "python"
        (out / "podium" / "v1").mkdir(parents=True, exist_ok=True)
        well_known = Path(protoc.__file__).parent / "_proto"
        scripts = Path(sys.executable).parent
        status = protoc.main(
            [
                "protoc",
                f"--proto_path={root / 'protos'}",
                f"--proto_path={well_known}",
                f"--plugin=protoc-gen-mypy={scripts / 'protoc-gen-mypy'}",
                f"--plugin=protoc-gen-mypy_grpc={scripts / 'protoc-gen-mypy_grpc'}",
                f"--python_out={out}",
                f"--grpc_python_out={out}",
                f"--mypy_out=quiet:{out}",
                f"--mypy_grpc_out=quiet:{out}",
                *map(str, sources),
            ]
        )
        if status != 0:
            message = f"protoc failed with status {status}"
            raise RuntimeError(message)
        (out / "podium" / "v1" / "__init__.py").write_text('"""Generated from protos/podium/v1; do not edit."""\n')

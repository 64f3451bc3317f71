"""The embedded API server as a process of its own: `python -m bench.api_process KUBECONFIG CONTROL`.

On the unix socket CONTROL it takes one JSON command a line and answers with one: `seed` puts a generated cluster
straight into the store (creating 100,000 objects through HTTP would take minutes), `writes` gives the counters of
requests, `compact` forgets history. The bench measures it as the API server; the controller sees nothing but HTTP.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
from pathlib import Path
from typing import Any

import yaml

from bench.generate import Cluster, everything
from ovnbridge.lab.api import ApiServer

WRITES = ("POST", "PUT", "PATCH", "DELETE")


class Control:
    """Commands of the bench."""

    def __init__(self, server: ApiServer) -> None:
        self._server = server

    def seed(self, **sizes: int) -> dict[str, int]:
        """Put a cluster into the store as if it had always been there."""
        registry, count, size = self._server._registry, 0, 0
        gc.disable()
        for group, version, plural, obj in everything(Cluster(**sizes)):
            resource = registry.get(group, version, plural)
            meta = obj["metadata"]
            entry = resource.collection.write((meta.get("namespace", ""), meta["name"]), obj)
            count += 1
            size += len(entry.data)
        self._server.compact()
        gc.collect()
        gc.freeze()
        gc.enable()
        return {"objects": count, "bytes": size}

    def writes(self) -> list[list[Any]]:
        """Writing requests so far: [method, resource, count]."""
        counted = self._server.requests.items()
        return [[method, label, count] for (method, label), count in counted if method in WRITES]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        while line := await reader.readline():
            command, arguments = json.loads(line)
            reply = getattr(self, command)(**arguments)
            writer.write(json.dumps(reply).encode() + b"\n")
            await writer.drain()
        writer.close()


async def main(kubeconfig: Path, control: Path) -> None:
    """Serve until killed."""
    server = ApiServer()
    await server.start(host="127.0.0.1", port=0)
    commands = await asyncio.start_unix_server(Control(server).serve, control, limit=1 << 20)
    kubeconfig.with_suffix(".new").write_text(yaml.safe_dump(server.kubeconfig()))
    kubeconfig.with_suffix(".new").rename(kubeconfig)
    await commands.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2])))

"""Cycles in a graph of tasks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence


def find_cycle(upstreams: Sequence[Sequence[int]]) -> list[int] | None:
    """Return the nodes of one cycle, each one upstream of the next and the last one of the first; None without any.

    Args:
        upstreams: For each node, the positions of its upstream nodes (V nodes, E edges). Time O(V + E).
    """
    return next(find_cycles(upstreams), None)


def find_cycles(upstreams: Sequence[Sequence[int]]) -> Iterator[list[int]]:
    """Yield cycles until every cycle of the graph shares a node with one of them; some may share nodes.

    Time O(V + E) to the first cycle, and O(V) more for each further one.
    """
    path = _Path(len(upstreams))
    for start in range(len(upstreams)):
        if not path.visited[start]:
            yield from _walk(start, upstreams, path)


class _Path:
    """The nodes between the start of the walk and where it stands, and which nodes the walk has seen at all."""

    def __init__(self, size: int) -> None:
        self.visited = bytearray(size)
        self.on_path = bytearray(size)
        self.told = bytearray(size)
        self.nodes: list[int] = []

    def enter(self, node: int) -> None:
        self.visited[node] = self.on_path[node] = 1
        self.nodes.append(node)

    def leave(self) -> None:
        self.on_path[self.nodes.pop()] = 0

    def close(self, node: int) -> list[int]:
        """Return the cycle that an edge from the last node back to `node` closes, in the order of execution."""
        cycle = self.nodes[self.nodes.index(node) :]
        for member in cycle:
            self.told[member] = 1
        return cycle[::-1]


def _walk(start: int, upstreams: Sequence[Sequence[int]], path: _Path) -> Iterator[list[int]]:
    """Follow upstreams depth first, without recursion."""
    path.enter(start)
    pending = [iter(upstreams[start])]
    while pending:
        node = next(pending[-1], None)
        if node is None:
            path.leave()
            pending.pop()
        elif not path.visited[node]:
            path.enter(node)
            pending.append(iter(upstreams[node]))
        elif path.on_path[node] and not (path.told[node] or path.told[path.nodes[-1]]):
            yield path.close(node)

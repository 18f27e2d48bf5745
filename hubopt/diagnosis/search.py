"""Find the first tensor of a graph that diverges, without measuring every tensor.

The search is pure: the caller passes a function that says whether tensors diverge. It takes many
tensors at once, because one run of a model computes many.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

Ask = Callable[[Sequence[str]], Mapping[str, bool]]
"""Takes names of tensors and says for each name whether the tensor diverges; one call is one
run."""

WIDTH = 6
"""The number of tensors to check in the first run."""


@dataclass(frozen=True, slots=True)
class Found:
    """The result of a search.

    Attributes:
        tensor: A tensor that diverges although none of ``before`` does.
        before: The nearest known tensors that it is computed from.
        dropped: Tensors that seemed to diverge although nothing computed from them does. They
            were matched with the wrong tensors of the reference.
        runs: The number of runs.
    """

    tensor: str
    before: tuple[str, ...]
    dropped: tuple[str, ...]
    runs: int


class Graph:
    """The known tensors of a graph, and the known tensors that they are computed from.

    Args:
        parents: The tensors from which each tensor, known or not, is computed, in topological
            order.
        known: The tensors that can be checked.
    """

    def __init__(self, parents: Mapping[str, Sequence[str]], known: Iterable[str]) -> None:
        wanted = set(known)
        self.order = tuple(name for name in parents if name in wanted)
        self._place = {name: at for at, name in enumerate(self.order)}
        self._parents: dict[str, tuple[str, ...]] = {}
        nearest: dict[str, frozenset[str]] = {}
        self._ancestors: dict[str, int] = {}
        for name, sources in parents.items():
            above: frozenset[str] = frozenset().union(
                *({source} if source in wanted else nearest.get(source, ()) for source in sources)
            )
            nearest[name] = above
            if name in wanted:
                self._parents[name] = tuple(sorted(above, key=self._place.__getitem__))
                mask = 0
                for parent in above:
                    mask |= self._ancestors[parent] | 1 << self._place[parent]
                self._ancestors[name] = mask

    def parents(self, name: str) -> tuple[str, ...]:
        """Return the nearest known tensors that ``name`` is computed from."""
        return self._parents[name]

    def ancestors(self, name: str) -> tuple[str, ...]:
        """Return every known tensor that ``name`` is computed from, in topological order."""
        return self._names(self._ancestors[name])

    def between(self, first: str, last: str) -> tuple[str, ...]:
        """Return the known tensors after ``first`` that ``last`` is computed from, and ``last``."""
        bit = 1 << self._place[first]
        inner = [name for name in self.ancestors(last) if self._ancestors[name] & bit]
        return (*inner, last)

    def without(self, names: Iterable[str]) -> Graph:
        """Return the same graph with ``names`` not known."""
        gone = set(names)
        return Graph(
            {name: self._parents[name] for name in self.order},
            [name for name in self.order if name not in gone],
        )

    def weight(self, name: str, among: set[str]) -> int:
        """Return how many of ``among`` the tensor ``name`` is computed from."""
        return sum(ancestor in among for ancestor in self.ancestors(name))

    def _names(self, mask: int) -> tuple[str, ...]:
        names = []
        while mask:
            low = mask & -mask
            names.append(self.order[low.bit_length() - 1])
            mask ^= low
        return tuple(names)


@dataclass(slots=True)
class _Answers:
    """The answers so far; no tensor is checked twice."""

    ask: Ask
    diverges: dict[str, bool]
    runs: int = 0
    dropped: list[str] = field(default_factory=list)

    def __call__(self, names: Iterable[str]) -> list[str]:
        """Return which of ``names`` diverge."""
        names = list(names)
        new = [name for name in names if name not in self.diverges]
        if new:
            self.runs += 1
            self.diverges.update(self.ask(new))
        return [name for name in names if self.diverges[name]]


def find_first(graph: Graph, start: str, ask: Ask, width: int = WIDTH) -> Found:
    """Find the first diverging tensor that leads to ``start``, which diverges.

    A tensor that does not diverge rules out every tensor that it is computed from. So each run
    checks tensors that split the remaining ones evenly. A run that rules out less than half of
    them doubles the number of tensors to check, so that wide graphs take no more runs than deep
    ones. The result is verified: none of its parents diverges, and one of its children does.

    Args:
        graph: The known tensors.
        start: A tensor that diverges.
        ask: Says whether tensors diverge.
        width: The number of tensors to check in the first run.
    """
    answers = _Answers(ask, {start: True})
    while True:
        tensor = _descend(graph, start, answers, width)
        children = [name for name in graph.between(tensor, start) if tensor in graph.parents(name)]
        if tensor == start or answers(children):
            return Found(tensor, graph.parents(tensor), tuple(answers.dropped), answers.runs)
        answers.dropped.append(tensor)
        graph = graph.without([tensor])


def _descend(graph: Graph, start: str, answers: _Answers, width: int) -> str:
    """Return a tensor that diverges and whose parents do not, at or before ``start``."""
    target = start
    while True:
        left = [name for name in graph.ancestors(target) if answers.diverges.get(name) is not False]
        target = _bisect(graph, target, left, answers, width)
        diverging = answers(graph.parents(target))
        if not diverging:
            return target
        target = diverging[0]  # a clean tensor downstream, such as a ReLU's, hid it


def _bisect(graph: Graph, target: str, left: list[str], answers: _Answers, width: int) -> str:
    while left:
        asked = _split(graph, left, width)
        diverging = set(answers(asked))
        before = len(left)
        if diverging:
            target = next(name for name in left if name in diverging)
            above = set(graph.ancestors(target))
            left = [name for name in left if name in above]
        ruled_out = {name for name in asked if name not in diverging}
        for name in tuple(ruled_out):
            ruled_out.update(graph.ancestors(name))
        left = [name for name in left if name not in ruled_out]
        if len(left) > before / 2:
            width *= 2
    return target


def _split(graph: Graph, left: list[str], width: int) -> list[str]:
    """Return up to ``width`` of ``left``, evenly spaced by how many others they depend on."""
    if len(left) <= width:
        return left
    among = set(left)
    weights = sorted((graph.weight(name, among), at) for at, name in enumerate(left))
    steps = [len(weights) * (at + 1) // (width + 1) for at in range(width)]
    return [left[place] for place in sorted({weights[step][1] for step in steps})]

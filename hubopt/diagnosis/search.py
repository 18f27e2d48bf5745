"""Find, in a graph, the first tensor that diverges without looking at every tensor.

Pure: what is asked about a tensor is given as a function, and one question may ask about many
tensors at once, since one run of a model gives many.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

Ask = Callable[[Sequence[str]], Mapping[str, bool]]
"""Takes names of tensors and says for each whether it diverges; called once a run."""

WIDTH = 6
"""How many tensors a run looks at, at first."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a search found.

    Attributes:
        tensor: It diverges, and none of ``before`` does.
        before: The nearest known tensors that it is computed from.
        dropped: Tensors that seemed to diverge although nothing computed from them does: they
            are not the tensors that they were taken for.
        runs: How often was asked.
    """

    tensor: str
    before: tuple[str, ...]
    dropped: tuple[str, ...]
    runs: int


class Graph:
    """The known tensors of a graph and what each is computed from.

    Args:
        parents: For each tensor, known or not, what it is computed from; in topological order.
        known: The tensors that can be asked about.
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
                *({each} if each in wanted else nearest.get(each, ()) for each in sources)
            )
            nearest[name] = above
            if name in wanted:
                self._parents[name] = tuple(sorted(above, key=self._place.__getitem__))
                mask = 0
                for each in above:
                    mask |= self._ancestors[each] | 1 << self._place[each]
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
        inner = [each for each in self.ancestors(last) if self._ancestors[each] & bit]
        return (*inner, last)

    def without(self, names: Iterable[str]) -> Graph:
        """Return the graph in which ``names`` are not known."""
        gone = set(names)
        return Graph(
            {name: self._parents[name] for name in self.order},
            [name for name in self.order if name not in gone],
        )

    def weight(self, name: str, among: set[str]) -> int:
        """Return how many of ``among`` the tensor ``name`` is computed from."""
        return sum(each in among for each in self.ancestors(name))

    def _names(self, mask: int) -> tuple[str, ...]:
        names = []
        while mask:
            low = mask & -mask
            names.append(self.order[low.bit_length() - 1])
            mask ^= low
        return tuple(names)


@dataclass(slots=True)
class _Answers:
    """What has been answered; asks about nothing twice."""

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
    """Find where ``start``, which diverges, leaves the reference.

    A tensor that does not diverge acquits what it is computed from, so each run asks about
    tensors that split what is left evenly; a run that decides less than half of it doubles the
    number asked about, so that wide graphs take no more runs than deep ones. What is found is
    checked: none of its parents diverges, and one of its children does.

    Args:
        graph: The known tensors.
        start: One that diverges.
        ask: Whether tensors diverge.
        width: How many tensors to ask about at first.
    """
    answers = _Answers(ask, {start: True})
    while True:
        tensor = _descend(graph, start, answers, width)
        children = [each for each in graph.between(tensor, start) if tensor in graph.parents(each)]
        if tensor == start or answers(children):
            return Found(tensor, graph.parents(tensor), tuple(answers.dropped), answers.runs)
        answers.dropped.append(tensor)
        graph = graph.without([tensor])


def _descend(graph: Graph, start: str, answers: _Answers, width: int) -> str:
    """Return a tensor that diverges and whose parents do not, at or before ``start``."""
    target = start
    while True:
        left = [each for each in graph.ancestors(target) if answers.diverges.get(each) is not False]
        target = _bisect(graph, target, left, answers, width)
        wrong = answers(graph.parents(target))
        if not wrong:
            return target
        target = wrong[0]  # a clean tensor downstream hid it, as a ReLU does


def _bisect(graph: Graph, target: str, left: list[str], answers: _Answers, width: int) -> str:
    while left:
        asked = _split(graph, left, width)
        wrong = set(answers(asked))
        before = len(left)
        if wrong:
            target = next(each for each in left if each in wrong)
            above = set(graph.ancestors(target))
            left = [each for each in left if each in above]
        acquitted = {each for each in asked if each not in wrong}
        for each in tuple(acquitted):
            acquitted.update(graph.ancestors(each))
        left = [each for each in left if each not in acquitted]
        if len(left) > before / 2:
            width *= 2
    return target


def _split(graph: Graph, left: list[str], width: int) -> list[str]:
    """Return up to ``width`` of ``left`` that are computed from evenly many of the others."""
    if len(left) <= width:
        return left
    among = set(left)
    weights = sorted((graph.weight(each, among), at) for at, each in enumerate(left))
    steps = [len(weights) * (at + 1) // (width + 1) for at in range(width)]
    return [left[place] for place in sorted({weights[step][1] for step in steps})]

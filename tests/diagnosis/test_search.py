"""The search on its own, on artificial graphs."""

import math
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubopt.diagnosis.search import WIDTH, Graph, find_first

Parents = dict[str, tuple[str, ...]]


class Oracle:
    """Says which tensors diverge, and records the queries."""

    def __init__(self, wrong: set[str]) -> None:
        self.wrong = wrong
        self.asked: list[list[str]] = []

    def __call__(self, names: Sequence[str]) -> Mapping[str, bool]:
        self.asked.append(list(names))
        return {name: name in self.wrong for name in names}


def chain(length: int) -> Parents:
    return {f"t{at}": (f"t{at - 1}",) if at else () for at in range(length)}


def descendants(parents: Parents, first: str) -> set[str]:
    found = {first}
    for name, sources in parents.items():
        if found.intersection(sources):
            found.add(name)
    return found


@st.composite
def graphs(draw: st.DrawFn) -> tuple[Parents, str, str]:
    """A graph in which every tensor leads to the last one, the last tensor, and a faulty tensor."""
    size = draw(st.integers(2, 60))
    parents: Parents = {"t0": ()}
    for at in range(1, size):
        sources = draw(st.lists(st.integers(0, at - 1), min_size=1, max_size=3))
        parents[f"t{at}"] = tuple(f"t{source}" for source in sources)
    used = {source for sources in parents.values() for source in sources}
    parents["end"] = tuple(name for name in parents if name not in used)
    return parents, "end", f"t{draw(st.integers(0, size - 1))}"


@given(graphs())
def test_one_fault_in_any_graph_is_found(case: tuple[Parents, str, str]) -> None:
    parents, end, fault = case
    oracle = Oracle(descendants(parents, fault))
    found = find_first(Graph(parents, parents), end, oracle)
    assert found.tensor == fault
    assert not set(found.before) & oracle.wrong
    assert found.runs == len(oracle.asked)


@given(graphs(), st.randoms())
def test_the_found_tensor_diverges_and_its_parents_do_not(case, random) -> None:  # type: ignore[no-untyped-def]
    """This holds even when a ReLU or a maximum hides the fault on some paths."""
    parents, end, fault = case
    wrong, name = descendants(parents, fault), end
    shown = {name}
    while name != fault:
        name = random.choice([tensor for tensor in parents[name] if tensor in wrong])
        shown.add(name)
    shown |= {tensor for tensor in wrong if random.random() < 0.5}
    oracle = Oracle(shown)
    graph = Graph(parents, parents)
    found = find_first(graph, end, oracle)
    assert found.tensor in shown
    assert not set(found.before) & shown


@given(graphs(), st.data())
def test_unknown_tensors_are_skipped(case, data) -> None:  # type: ignore[no-untyped-def]
    parents, end, fault = case
    known = {end, *data.draw(st.sets(st.sampled_from(sorted(parents))))}
    wrong = descendants(parents, fault)
    found = find_first(Graph(parents, known), end, Oracle(wrong))
    assert found.tensor in known & wrong
    assert not set(found.before) & wrong
    assert set(found.before) <= known


def test_the_nearest_known_tensors_are_the_parents() -> None:
    graph = Graph({"a": (), "b": ("a",), "c": ("b",), "d": ("c", "a")}, ["a", "b", "d"])
    assert graph.parents("d") == ("a", "b")
    assert graph.ancestors("d") == ("a", "b")
    assert graph.between("b", "d") == ("d",)


@pytest.mark.parametrize("fault", [0, 1, 499, 998, 999])
def test_a_chain_takes_logarithmically_many_runs(fault: int) -> None:
    parents = chain(1000)
    oracle = Oracle(descendants(parents, f"t{fault}"))
    found = find_first(Graph(parents, parents), "t999", oracle)
    assert found.tensor == f"t{fault}"
    assert found.runs <= math.ceil(math.log(1000, WIDTH + 1)) + 2


@pytest.mark.parametrize("fault", [0, 500, 999])
def test_a_wide_graph_takes_no_more_runs_than_a_deep_one(fault: int) -> None:
    parents: Parents = {f"t{at}": () for at in range(1000)}
    parents["end"] = tuple(parents)
    oracle = Oracle({f"t{fault}", "end"})
    found = find_first(Graph(parents, parents), "end", oracle)
    assert found.tensor == f"t{fault}"
    assert found.runs <= math.ceil(math.log2(1000))


def test_a_tensor_that_only_seems_to_diverge_is_dropped() -> None:
    """Its match by name was wrong: the tensors computed from it agree."""
    parents = chain(20)
    oracle = Oracle({"t3", *(f"t{at}" for at in range(10, 20))})
    found = find_first(Graph(parents, parents), "t19", oracle, width=19)
    assert (found.tensor, found.before) == ("t10", ("t9",))
    branch: Parents = {"a": (), "b": ("a",), "c": ("a",), "end": ("b", "c")}
    found = find_first(Graph(branch, branch), "end", Oracle({"end", "a"}))
    assert found.dropped == ("a",)
    assert found.tensor == "end"


def test_no_tensor_is_queried_twice() -> None:
    parents = chain(300)
    oracle = Oracle(descendants(parents, "t123"))
    find_first(Graph(parents, parents), "t299", oracle)
    asked = [name for names in oracle.asked for name in names]
    assert len(asked) == len(set(asked))

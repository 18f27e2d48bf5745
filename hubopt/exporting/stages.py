"""The stages of one export, each from the store where that has it, and stored once it is made.

Nothing is done twice: an export that was interrupted goes on at the stage that was not complete,
and one that was not makes nothing at all. What comes out of the store is told.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path, PurePosixPath
from typing import TypeVar, get_args

from hubopt._util.serialization import from_json, plain
from hubopt.bundles.manifest import LOGS
from hubopt.bundles.results import TargetResult
from hubopt.bundles.schema import spec_problems, target_problems
from hubopt.bundles.schema_parity import reference_problems
from hubopt.bundles.stage_store import Entry, Label, StageStore
from hubopt.exporter import PROGRAM, Artifact, Exporter, Program, Source
from hubopt.exporting.memory import Memory
from hubopt.exporting.stage_keys import kit_digest
from hubopt.exporting.targets import Outcome
from hubopt.parity import Overrides
from hubopt.parity.reference import Depth
from hubopt.progress import Progress
from hubopt.reference.kit import Kit
from hubopt.reference.layer_session import LayerSession
from hubopt.reference.reference import Reference
from hubopt.runs.examine import Baseline

T = TypeVar("T")

_INPUTS, _REFERENCE, _FLOAT64 = "inputs.npz", "reference.npz", "float64.npz"
_ARTIFACT, _LOG = "artifact", "log"


@dataclass(frozen=True, slots=True)
class Traced:
    """What tracing gives.

    Attributes:
        program: The traced layer.
        signature: The signature that the layer calls, or None for the model's own call.
    """

    program: Program
    signature: str | None


class Stages:
    """The stages of one export; without a memory, every one is made.

    Args:
        memory: Where to look and what to remember.
        folder: The bundle in the making.
        work: A folder for what is not kept.
        progress: Told what begins.

    Attributes:
        cached: When ``trace`` and ``reference`` were made, where they are from the store.
    """

    def __init__(self, memory: Memory | None, folder: Path, work: Path, progress: Progress) -> None:
        self.cached: dict[str, str] = {}
        self._memory = memory
        self._folder = folder
        self._work = work
        self._progress = progress
        self._bring_program: Callable[[], None] = lambda: None
        self._reference: Reference
        self._digest_of: tuple[Kit, str] | None = None
        self._kit_is_stored = False
        self._digests: dict[str, str] = {}

    def trace(self, make: Callable[[Path], Traced], saved_model: bool) -> Traced:
        """Return the program. Its files come when a stage needs them: they are large.

        Args:
            make: Traces the layer into a folder.
            saved_model: Whether there must be a SavedModel among the files; there may be one.
        """
        folder = self._work / PROGRAM
        memory = self._memory
        if memory is None:
            return make(folder)
        self._digests[PROGRAM] = memory.keys.program()
        fitting = [memory.keys.trace(each) for each in {saved_model, True}]

        def make_and_keep() -> Traced:
            traced = make(folder)
            value = _to_json(_moved(traced, Path(PROGRAM)))
            key = memory.keys.trace(saved_model)
            memory.store.put(key, Label("trace", memory.handle), value, {PROGRAM: folder})
            return traced

        looked_up = (_look_up(memory.store, key, "trace", Traced) for key in fitting)
        found = next(filter(None, looked_up), None)
        if found is None:
            return make_and_keep()
        entry, stored = found
        if problem := next(spec_problems(stored.program.spec), None):
            memory.store.discard(entry.key, problem)
            return make_and_keep()
        self._tell(f"trace: from the cache (made {entry.told})")
        self.cached["trace"] = entry.made

        def bring() -> None:
            if not memory.store.take(entry, {PROGRAM: folder}):
                del self.cached["trace"]
                make_and_keep()

        self._bring_program = cache(bring)
        return _moved(stored, folder)

    def reference(
        self,
        kit: Kit,
        ask: Callable[[Callable[[Kit], None]], Callable[[], Kit]],
        deepen: Callable[[Kit], Kit | None],
    ) -> Reference:
        """Return the samples and what the layer gives for them.

        Args:
            kit: Where samples and answers go, and the user's tolerances.
            ask: Begins to ask the layer, and returns what waits for its answers; calls what it is
                given with the kit once that is complete.
            deepen: Measures more of how steady the layer is, see `Reference`.
        """
        memory = self._memory
        if memory is None:
            self._reference = Reference(ask(lambda complete: None), deepen)
            return self._reference

        def keep(complete: Kit) -> None:
            key = memory.keys.kit(complete.facts.depth)
            value = _to_json(_without_places(complete))
            memory.store.put(key, Label("reference", memory.handle), value, _files(complete))

        def deepen_and_keep(known: Kit) -> Kit | None:
            self._bring_program()
            deeper = deepen(known)
            if deeper is not None:
                keep(deeper)
            return deeper

        # Of what an earlier export had to know of the layer, the most.
        keys = map(memory.keys.kit, reversed(get_args(Depth)))
        found = (self._take_kit(memory.store, key, kit) for key in keys)
        stored = next((each for each in found if each is not None), None)
        if stored is not None:
            self._kit_is_stored = True
            self._reference = Reference(lambda: stored, deepen_and_keep)
        else:
            self._bring_program()
            self._reference = Reference(ask(keep), deepen_and_keep)
        return self._reference

    def baseline(
        self, rounds: int, layer: Callable[[], LayerSession]
    ) -> Callable[[], Baseline | None]:
        """Return what gives that which artifacts are timed against; None for no timing.

        A layer that was not asked, because its answers were stored, is asked now.
        """

        def baseline() -> Baseline | None:
            if not rounds:
                return None
            kit = self._reference.kit()  # the layer may be answering still
            session = layer()
            if self._kit_is_stored:
                with self._progress("run the eager layer, to time it"):
                    session.answer(kit.spec, kit.inputs, self._work / "timed.npz")
            return Baseline(session, None, rounds)

        return cache(baseline)

    def target(self, exporter: Exporter, source: Source, make: Callable[[], Outcome]) -> Outcome:
        """Return a target's artifact and verdict. One that failed is not stored.

        Args:
            exporter: What writes and runs it.
            source: What it is made from.
            make: Converts, verifies and times it.
        """
        memory = self._memory
        if memory is None:
            return make()

        def key() -> str:
            # By the kit's content: a verdict belongs to the very samples in its bundle.
            source = self._digests[exporter.source]
            return memory.keys.target(exporter, source, self._kit_digest())

        is_there = self._places(exporter.name)[_ARTIFACT].exists()  # and is only judged again
        outcome = None
        if self._kit_is_stored and not is_there:
            outcome = self._take_target(memory.store, key(), exporter.name, source)
        if outcome is None:
            if isinstance(source, Program):
                self._bring_program()
            outcome = make()
            result = outcome[0]
            if result.status != "failed":
                label = Label("target", memory.handle, result.target)
                memory.store.put(key(), label, _to_json(result), self._places(result.target))
        self._digests[exporter.name] = outcome[0].sha256 or ""  # none: nothing starts from it
        return outcome

    def _kit_digest(self) -> str:
        kit = self._reference.kit()
        if self._digest_of is None or self._digest_of[0] is not kit:
            self._digest_of = kit, kit_digest(kit)
        return self._digest_of[1]

    def _take_kit(self, store: StageStore, key: str, kit: Kit) -> Kit | None:
        found = _look_up(store, key, "reference", Kit)
        if found is None:
            return None
        entry, stored = found
        if stored.spec != kit.spec:
            store.discard(key, "it is of another program")
            return None
        facts, samples = stored.facts, len(stored.kinds)
        if problem := next(reference_problems(facts, stored.spec, samples), None):
            store.discard(key, problem)
            return None
        stored = replace(
            stored,
            inputs=kit.inputs,
            reference=kit.reference,
            float64=kit.inputs.with_name(_FLOAT64) if stored.float64 else None,
            overrides=kit.overrides,
        )
        if not store.take(entry, _files(stored)):
            return None
        self._tell(f"reference: from the cache (made {entry.told})")
        self.cached["reference"] = entry.made
        return stored

    def _take_target(
        self, store: StageStore, key: str, name: str, source: Source
    ) -> Outcome | None:
        found = _look_up(store, key, "target", TargetResult)
        if found is None:
            return None
        entry, result = found
        if result.target != name or not _belongs_to(result, name):
            store.discard(key, f"it is no artifact of {name}")
            return None
        samples = len(self._reference.kit().kinds)
        if problem := next(target_problems(name, result, source.spec, samples), None):
            store.discard(key, problem)
            return None
        assert result.path is not None
        if not store.take(entry, self._places(name)):
            return None
        self._tell(f"{name}: from the cache ({result.status} {entry.told})")
        path = self._folder / result.path
        beside = tuple(result.companions)
        artifact = Artifact(name, path, source.spec, result.tolerance, result.details, beside)
        return replace(result, cached=entry.made), artifact

    def _places(self, target: str) -> dict[str, Path]:
        return {_ARTIFACT: self._folder / target, _LOG: self._folder / LOGS / f"{target}.log"}

    def _tell(self, text: str) -> None:
        with self._progress(text):
            pass


def _look_up(store: StageStore, key: str, kind: str, of: type[T]) -> tuple[Entry, T] | None:
    """Return an entry and its value; one that holds something else is damaged, and removed."""
    found = store.look_up(key)
    if found is None:
        return None
    entry, value = found
    if entry.kind != kind:
        store.discard(key, f"it is a {entry.kind}, not a {kind}")
        return None
    try:
        return entry, from_json(value, of)
    except MemoryError:
        raise
    except Exception as error:  # cattrs raises groups of nearly every type there is
        store.discard(key, f"its value cannot be read: {type(error).__name__}: {error}")
        return None


def _belongs_to(result: TargetResult, target: str) -> bool:
    """Whether a stored result has an artifact where that of ``target`` stands in a bundle."""
    path = PurePosixPath(result.path or "")
    if any(PurePosixPath(each).parts != (each,) for each in result.companions):
        return False
    return path.parts[:1] == (target,) and ".." not in path.parts and result.status != "failed"


def _to_json(value: object) -> str:
    return json.dumps(plain(value), allow_nan=False)


def _moved(traced: Traced, folder: Path) -> Traced:
    return replace(traced, program=replace(traced.program, folder=folder))


def _files(kit: Kit) -> dict[str, Path]:
    files = {_INPUTS: kit.inputs, _REFERENCE: kit.reference}
    return files | {_FLOAT64: kit.float64} if kit.float64 else files


def _without_places(kit: Kit) -> Kit:
    """Return ``kit`` without what belongs to one export: its paths and the user's tolerances."""
    return replace(
        kit,
        inputs=Path(_INPUTS),
        reference=Path(_REFERENCE),
        float64=Path(_FLOAT64) if kit.float64 else None,
        overrides=Overrides(),
    )

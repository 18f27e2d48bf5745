"""The stages that one export takes from the store and puts into it.

No stage runs twice: an interrupted export continues after its last complete stage, and a repeated
export runs none. Every stage that is taken from the store is reported.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import get_args

from hubopt._util.digest import sha256
from hubopt.bundles.manifest import LOGS
from hubopt.bundles.schema import spec_problems
from hubopt.bundles.schema_parity import comparison_problems, latency_problems
from hubopt.bundles.stage_store import Entry, Label
from hubopt.exporter import PROGRAM, Artifact, Target
from hubopt.exporting.memory import Memory
from hubopt.exporting.stage_keys import comparison_key
from hubopt.exporting.stored_values import (
    StoredArtifact,
    StoredRun,
    Traced,
    files_problem,
    is_own_place,
    look_up,
    placed,
    reference_files,
    stored_problems,
    to_json,
)
from hubopt.parity import Comparison
from hubopt.parity.reference import NoiseLevel
from hubopt.progress import Progress, report_done
from hubopt.reference.reference_set import ReferenceSet
from hubopt.runs.convert import Built
from hubopt.runs.run import Run
from hubopt.sampling.arrays import sample_numbers
from hubopt.spec import ModelSpec

_ARTIFACT, _ANSWERS, _LOG = "artifact", "answers.npz", "log"


class ExportCache:
    """The stored stages of one export; without a memory, nothing is found or stored.

    Args:
        memory: The store, and the keys of this export.
        folder: The folder of the new bundle.
        work: A folder for temporary files.
        progress: Called with a label for each stage that is taken from the store.

    Attributes:
        cached: The time at which a stage taken from the store was made: ``trace``, ``reference``,
            and the run of a target under the target's id.
    """

    def __init__(self, memory: Memory | None, folder: Path, work: Path, progress: Progress) -> None:
        self.cached: dict[str, str] = {}
        self._memory = memory
        self._folder = folder
        self._work = work
        self._progress = progress
        self._stored_program: Entry | None = None
        self._compared: set[str] = set()
        self._digests: dict[Path, str] = {}

    def find_trace(self, saved_model: bool) -> Traced | None:
        """Return the stored program. Its files are large and are not copied yet.

        Args:
            saved_model: Whether the files must include a SavedModel.
        """
        memory = self._memory
        if memory is None:
            return None
        for with_model in dict.fromkeys((saved_model, True)):
            found = look_up(memory.store, memory.keys.trace(with_model), "trace", Traced)
            if found is None:
                continue
            entry, traced = found
            if problem := next(spec_problems(traced.program.spec), None):
                memory.store.discard(entry.key, problem)
                continue
            self._report(f"trace: from the cache (made {entry.provenance})")
            self.cached["trace"] = entry.made
            self._stored_program = entry
            return _moved(traced, self._work / PROGRAM)
        return None

    def take_program(self) -> bool:
        """Copy the stored program to the work folder; return False if a file is damaged."""
        entry, self._stored_program = self._stored_program, None
        if entry is None or self._memory is None:
            return (self._work / PROGRAM).is_dir()
        if self._memory.store.take(entry, {PROGRAM: self._work / PROGRAM}):
            return True
        self.cached.pop("trace", None)
        return False

    def keep_trace(self, traced: Traced, saved_model: bool) -> None:
        """Store a program and its files."""
        memory = self._memory
        if memory is not None:
            value = to_json(_moved(traced, Path(PROGRAM)))
            files = {PROGRAM: traced.program.folder}
            label = Label("trace", memory.handle)
            memory.store.put(memory.keys.trace(saved_model), label, value, files)

    def find_reference(self, spec: ModelSpec, folder: Path) -> ReferenceSet | None:
        """Copy the stored reference set with the most measured noise to ``folder``, if any."""
        memory = self._memory
        if memory is None:
            return None
        for level in reversed(get_args(NoiseLevel)):
            found = look_up(memory.store, memory.keys.reference(level), "reference", ReferenceSet)
            if found is None:
                continue
            entry, stored = found
            there = placed(stored, folder)
            problem = next(stored_problems(stored, spec), None)
            if problem:
                memory.store.discard(entry.key, problem)
                continue
            folder.mkdir(parents=True, exist_ok=True)
            if not memory.store.take(entry, reference_files(there)):
                continue
            if problem := files_problem(there):
                memory.store.discard(entry.key, problem)
                for file in reference_files(there).values():
                    file.unlink(missing_ok=True)
                continue
            self._report(f"reference: from the cache (made {entry.provenance})")
            self.cached["reference"] = entry.made
            return there
        return None

    def keep_reference(self, known: ReferenceSet) -> None:
        """Store a reference set with the noise measured so far."""
        memory = self._memory
        if memory is not None:
            value = to_json(replace(placed(known, Path()), variants={}))
            label = Label("reference", memory.handle)
            key = memory.keys.reference(known.quality.level)
            memory.store.put(key, label, value, reference_files(known))

    def find_artifact(self, target: Target, source: str, spec: ModelSpec) -> Built | None:
        """Copy the stored artifact of ``target`` into the bundle, if there is one.

        Args:
            target: The target.
            source: The digest of its source artifact, or `PROGRAM`.
            spec: The inputs and outputs.
        """
        memory = self._memory
        if memory is None:
            return None
        key = memory.keys.artifact(target, source)
        found = look_up(memory.store, key, "artifact", StoredArtifact)
        if found is None:
            return None
        entry, stored = found
        if not is_own_place(stored.path, stored.companions):
            memory.store.discard(key, f"it is no artifact of {target.id}")
            return None
        home, log = self._folder / target.id, self._log(target)
        if not memory.store.take(entry, {_ARTIFACT: home, _LOG: log}):
            return None
        self._report(f"{target.id}: artifact from the cache (made {entry.provenance})")
        artifact = Artifact(
            target.exporter,
            home / stored.path,
            spec,
            stored.tolerance,
            stored.details,
            tuple(stored.companions),
        )
        return Built(
            target,
            artifact,
            stored.export_s,
            stored.sha256,
            stored.companions,
            stored.size_bytes,
        )

    def keep_artifact(self, built: Built, source: str) -> None:
        """Store an artifact."""
        memory, artifact = self._memory, built.artifact
        if memory is None or artifact is None:
            return
        assert built.export_s is not None
        assert built.sha256 is not None
        assert built.size_bytes is not None
        home = self._folder / built.target.id
        stored = StoredArtifact(
            artifact.path.relative_to(home).as_posix(),
            artifact.tolerance,
            artifact.details,
            built.export_s,
            built.sha256,
            built.companions,
            built.size_bytes,
        )
        files = {_ARTIFACT: home, _LOG: self._log(built.target)}
        label = Label("artifact", memory.handle, built.target.id)
        key = memory.keys.artifact(built.target, source)
        memory.store.put(key, label, to_json(stored), files)

    def find_run(self, built: Built, reference: ReferenceSet) -> Run | None:
        """Return the stored run of an artifact on the samples of ``reference``, if there is one."""
        memory, artifact = self._memory, built.artifact
        if memory is None or artifact is None:
            return None
        key = self._run_key(memory, built, reference)
        found = look_up(memory.store, key, "run", StoredRun)
        if found is None:
            return None
        entry, stored = found
        if stored.latency and (problem := next(latency_problems(stored.latency), None)):
            memory.store.discard(key, problem)
            return None
        answers = self.answers(built.target)
        has_answers = _ANSWERS in entry.digests
        files = {_LOG: self._log(built.target)} | ({_ANSWERS: answers} if has_answers else {})
        if not memory.store.take(entry, files):
            return None
        if has_answers and not set(reference.kept) <= set(sample_numbers(answers)):
            memory.store.discard(key, "it lacks answers")
            return None
        if not has_answers and stored.reason is None:
            memory.store.discard(key, "it has neither answers nor a reason")
            return None
        self._report(f"{built.target.id}: run from the cache (made {entry.provenance})")
        self.cached[built.target.id] = entry.made
        return Run(
            artifact,
            answers if has_answers else None,
            stored.device,
            stored.latency,
            reason=stored.reason,
            comparison=self._find_comparison(memory, key, reference),
        )

    def keep_run(self, built: Built, run: Run, reference: ReferenceSet) -> None:
        """Store a run, unless it failed: the cause may be the state of the machine."""
        memory = self._memory
        if memory is None or run.stage is not None:
            return
        files = {_LOG: self._log(built.target)}
        if run.answers is not None:
            files[_ANSWERS] = run.answers
        stored = StoredRun(run.device, run.latency, run.reason)
        label = Label("run", memory.handle, built.target.id)
        key = self._run_key(memory, built, reference)
        memory.store.put(key, label, to_json(stored), files)

    def keep_comparison(
        self, built: Built, comparison: Comparison, reference: ReferenceSet
    ) -> None:
        """Store the differences of an artifact from the layer, so that it can be judged again."""
        memory = self._memory
        if memory is None or comparison.problems:
            return
        key = self._comparison_key(self._run_key(memory, built, reference), reference)
        if key in self._compared:
            return
        label = Label("comparison", memory.handle, built.target.id)
        memory.store.put(key, label, to_json(comparison), {})

    def _find_comparison(
        self, memory: Memory, run: str, reference: ReferenceSet
    ) -> Comparison | None:
        key = self._comparison_key(run, reference)
        found = look_up(memory.store, key, "comparison", Comparison)
        if found is None:
            return None
        _, comparison = found
        if problem := next(comparison_problems(comparison, reference.spec), None):
            memory.store.discard(key, problem)
            return None
        self._compared.add(key)
        return comparison

    def forget(self, built: Built, source: str, reference: ReferenceSet) -> None:
        """Remove an artifact that does not agree with the layer, and its run.

        The next export then tries again, as a user expects.
        """
        if self._memory is not None and built.artifact is not None:
            run = self._run_key(self._memory, built, reference)
            self._memory.store.remove(self._comparison_key(run, reference))
            self._memory.store.remove(run)
            self._memory.store.remove(self._memory.keys.artifact(built.target, source))

    def answers(self, target: Target) -> Path:
        """Return the file for the outputs of a target's artifact."""
        return self._work / f"{target.id}.npz"

    def _run_key(self, memory: Memory, built: Built, reference: ReferenceSet) -> str:
        inputs = self._digest(reference.inputs)
        return memory.keys.run(built.target, built.sha256 or "", built.companions, inputs)

    def _comparison_key(self, run: str, reference: ReferenceSet) -> str:
        float64, ties = (
            self._digest(file) if file else None for file in (reference.float64, reference.ties)
        )
        return comparison_key(run, self._digest(reference.outputs), float64, ties)

    def _digest(self, file: Path) -> str:
        """Return the digest of a file of the reference set; such files are never rewritten."""
        if file not in self._digests:
            self._digests[file] = sha256(file)
        return self._digests[file]

    def _log(self, target: Target) -> Path:
        return self._folder / LOGS / f"{target.id}.log"

    def _report(self, text: str) -> None:
        report_done(self._progress, text)


def _moved(traced: Traced, folder: Path) -> Traced:
    return replace(traced, program=replace(traced.program, folder=folder))

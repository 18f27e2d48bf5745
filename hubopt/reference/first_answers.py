"""`FirstAnswers`: the layer is asked and first looked at in threads, while artifacts are made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hubopt.exporter import Program, Tensors
from hubopt.progress import Beside
from hubopt.reference.asking import Question, ask
from hubopt.reference.kit import Kit
from hubopt.reference.layer_session import LayerSession
from hubopt.reference.noise_depth import Deepening


@dataclass(frozen=True, slots=True)
class FirstAnswers:
    """What it takes to ask a layer beside something else.

    Attributes:
        question: What it is asked.
        program: Its trace.
        kit: Where samples and answers go.
        work: A folder for what is not kept.
        look: Takes the first look at how steady the layer is.
        beside: The threads.
        answered: Called when the layer has answered.
    """

    question: Question
    program: Program
    kit: Kit
    work: Path
    look: Deepening
    beside: Beside
    answered: Callable[[], None]

    def begin(self, layer: LayerSession, keep: Callable[[Kit], None]) -> Callable[[], Kit]:
        """Begin to ask; return what waits for the kit.

        Args:
            layer: The eager layer.
            keep: Called with the kit once that is complete.
        """
        return self.beside.start("wait for the layer's answers", lambda: self._ask(layer, keep))

    def _ask(self, layer: LayerSession, keep: Callable[[Kit], None]) -> Kit:
        note = self.beside.note
        asked = ask(self.question, layer, self.program, self.kit, self.work, note, self._look_ahead)
        self.answered()
        complete = self.look(asked) or asked
        keep(complete)
        return complete

    def _look_ahead(self, drawn: Sequence[Tensors], onednn_on: bool) -> None:
        self.look.look_ahead(drawn, onednn_on, self.beside)

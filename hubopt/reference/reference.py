"""`Reference`: the kit that artifacts are judged on, which can be made to say more of the layer."""

from __future__ import annotations

from collections.abc import Callable

from hubopt.parity import Parity
from hubopt.reference.kit import Kit


class Reference:
    """A kit of which more is measured only where a verdict hangs on it.

    How far the layer itself moves takes longer to measure than all the rest, and has no part in
    the verdict on an artifact that is near to the layer.

    Args:
        kit: Gives the kit as it is at first; asked once, and may take its time.
        deepen: Given a kit, measures more and gives the kit that knows it; None once everything
            is known.
    """

    def __init__(
        self, kit: Callable[[], Kit], deepen: Callable[[Kit], Kit | None] = lambda kit: None
    ) -> None:
        self._first = kit
        self._deepen = deepen
        self._kit: Kit | None = None

    def kit(self) -> Kit:
        """Return the kit as it is now."""
        if self._kit is None:
            self._kit = self._first()
        return self._kit

    def deepen(self) -> bool:
        """Measure more; return whether there was more to measure. The kit is then another one."""
        deeper = self._deepen(self.kit())
        if deeper is not None:
            self._kit = deeper
        return deeper is not None

    def settle(self, judge: Callable[[Kit], Parity]) -> Parity:
        """Return the verdict of ``judge`` on a kit that knows enough for it.

        Args:
            judge: Runs an artifact on a kit's samples, and judges it. Called again for each
                deeper kit, which may have fewer samples.
        """
        parity = judge(self.kit())
        while not parity.is_clear and self.deepen():
            parity = judge(self.kit())
        return parity

    def exhaust(self) -> Kit:
        """Measure everything there is, for a verdict that is made elsewhere."""
        while self.deepen():
            pass
        return self.kit()

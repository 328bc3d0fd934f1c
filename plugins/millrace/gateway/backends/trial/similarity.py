"""How alike texts are, by MiniLM, with the vectors of texts seen lately kept."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from threading import Lock

import numpy as np

from millrace.gateway.backends.trial.minilm import MiniLM
from millrace.gateway.backends.trial.weights import Array

KEPT = 4096
"""Vectors kept: 6 MiB of them."""


class Similarity:
    """Cosines between texts."""

    def __init__(self, model: MiniLM) -> None:
        self.model = model
        self._kept: OrderedDict[str, Array] = OrderedDict()
        self._lock = Lock()

    def vectors(self, texts: Sequence[str]) -> Array:
        """Unit vectors (n, 384) of texts; long ones by their first 256 tokens."""
        with self._lock:
            known = {text: self._kept[text] for text in texts if text in self._kept}
        new = [text for text in dict.fromkeys(texts) if text not in known]
        if new:
            known |= dict(zip(new, self.model.embed(self.model.tokens(new)), strict=True))
            self._keep(new, known)
        return np.array([known[text] for text in texts], np.float32).reshape(len(texts), -1)

    def to(self, text: str, others: Sequence[str]) -> Array:
        """The cosine of one text to each of others: (n,)."""
        if not others:
            return np.zeros(0, np.float32)
        vectors = self.vectors([text, *others])
        cosines: Array = vectors[1:] @ vectors[0]
        return cosines

    def _keep(self, new: Sequence[str], known: dict[str, Array]) -> None:
        with self._lock:
            self._kept.update((text, known[text]) for text in new)
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)

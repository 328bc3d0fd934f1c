"""How the trial models present themselves: what they are is said in every field that is read."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from millrace.gateway.backends.base import Model
from millrace.gateway.backends.trial.minilm_facts import DIMENSIONS, MAX_TOKENS, SHA256, SIZE_BYTES

EDITION = "1"
"""Goes up whenever the same prompt gets another answer: it is part of the model's digest."""
MODIFIED_AT = "2026-11-20T00:00:00Z"

TRIAL = Model(
    name="millrace-trial",
    capabilities=frozenset({"completion"}),
    size_bytes=SIZE_BYTES,
    digest=sha256(f"{SHA256} edition {EDITION}".encode()).hexdigest(),
    modified_at=MODIFIED_AT,
    details={
        "parent_model": "all-minilm",
        "format": "trial model, quotes only",
        "family": "trial",
        "families": ["trial"],
        "parameter_size": "not a language model",
        "quantization_level": "",
    },
)
MINILM = Model(
    name="all-minilm",
    capabilities=frozenset({"embedding"}),
    size_bytes=SIZE_BYTES,
    digest=SHA256,
    modified_at=MODIFIED_AT,
    details={
        "parent_model": "",
        "format": "safetensors",
        "family": "bert",
        "families": ["bert"],
        "parameter_size": "23M",
        "quantization_level": "F32",
    },
)
ABOUT = {
    TRIAL.name: (
        "millrace-trial is the built-in trial model: it quotes sentences of the prompt's own "
        "context, chosen by similarity. Quotes only; it is not a language model. For real answers "
        "install Ollama, or set MILLRACE_GGUF to a model file."
    ),
    MINILM.name: f"all-MiniLM-L6-v2: sentence vectors of {DIMENSIONS} floats, unit length.",
}


def page(model: Model) -> Mapping[str, Any]:
    """A model's answer to /api/show."""
    about = ABOUT[model.name]
    return {
        "modelfile": f"# {about}",
        "license": "Apache-2.0",
        "parameters": "",
        "template": "",
        "system": about,
        "details": model.details,
        "model_info": {
            "general.architecture": "bert",
            "general.basename": model.name,
            "general.description": about,
            "bert.context_length": MAX_TOKENS,
            "bert.embedding_length": DIMENSIONS,
        },
        "capabilities": sorted(model.capabilities),
        "modified_at": model.modified_at,
    }

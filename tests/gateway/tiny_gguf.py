"""Writes a llama model of 0.5 MB with random weights: the real llama.cpp path, no download."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np

WIDTH, FEED_FORWARD, HEADS, LAYERS, CONTEXT = 64, 128, 4, 2, 2048
CHAT_TEMPLATE = (
    "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)
_TYPES = gguf.TokenType
VOCABULARY: list[tuple[bytes, int]] = [
    (b"<unk>", _TYPES.UNKNOWN),
    *((mark, _TYPES.CONTROL) for mark in (b"<s>", b"</s>")),
    *((b"<0x%02X>" % byte, _TYPES.BYTE) for byte in range(256)),
    # Beside the bytes, the tokenizer wants its word mark and the printable characters.
    *((char.encode(), _TYPES.NORMAL) for char in ["\u2581", *map(chr, range(33, 127))]),
]


def write_tiny_gguf(path: Path, seed: int = 0) -> Path:
    """Write the model; the same seed gives the same file."""
    writer = gguf.GGUFWriter(str(path), "llama")
    _describe(writer)
    rng = np.random.default_rng(seed)

    def add(name: str, *shape: int) -> None:
        weights = rng.standard_normal(shape) * shape[-1] ** -0.5
        writer.add_tensor(f"{name}.weight", weights.astype(np.float32))

    def add_norm(name: str) -> None:
        writer.add_tensor(f"{name}.weight", np.ones(WIDTH, np.float32))

    add("token_embd", len(VOCABULARY), WIDTH)
    add("output", len(VOCABULARY), WIDTH)
    add_norm("output_norm")
    for layer in range(LAYERS):
        for part in ("attn_q", "attn_k", "attn_v", "attn_output"):
            add(f"blk.{layer}.{part}", WIDTH, WIDTH)
        add(f"blk.{layer}.ffn_gate", FEED_FORWARD, WIDTH)
        add(f"blk.{layer}.ffn_up", FEED_FORWARD, WIDTH)
        add(f"blk.{layer}.ffn_down", WIDTH, FEED_FORWARD)
        add_norm(f"blk.{layer}.attn_norm")
        add_norm(f"blk.{layer}.ffn_norm")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _describe(writer: gguf.GGUFWriter) -> None:
    writer.add_name("tiny-random")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_vocab_size(len(VOCABULARY))
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_tokenizer_model("llama")
    writer.add_token_list([token for token, _ in VOCABULARY])
    writer.add_token_scores([0.0] * len(VOCABULARY))
    writer.add_token_types([kind for _, kind in VOCABULARY])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_add_bos_token(True)
    writer.add_add_space_prefix(False)
    writer.add_chat_template(CHAT_TEMPLATE)

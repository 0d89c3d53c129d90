"""JumpReLU, top-k, and what narrowing and rounding may change."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ace_analysis.errors import InputError
from ace_analysis.features.sparse_coder import SparseCoder
from ace_analysis.model.sites import Site


def coder_of(d_model: int = 8, d_sae: int = 24, seed: int = 0, **changes: object) -> SparseCoder:
    generator = torch.Generator().manual_seed(seed)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    coder = SparseCoder(
        random(d_model, d_sae),
        random(d_sae),
        random(d_sae, d_model),
        random(d_model),
        random(d_sae).abs(),
        Site(3),
    )
    return replace(coder, **changes)


@settings(deadline=None)
@given(seed=st.integers(0, 50), subtracts=st.booleans())
def test_each_activation_is_the_jump_relu_of_its_own_direction(seed: int, subtracts: bool) -> None:
    coder = coder_of(seed=seed, apply_b_dec_to_input=subtracts)
    x = torch.randn(3, 8)
    encoded = coder.encode(x)
    for row in range(3):
        for latent in range(24):
            centred = x[row] - coder.b_dec * subtracts
            pre = centred @ coder.W_enc[:, latent] + coder.b_enc[latent]
            wanted = pre if pre > coder.threshold[latent] else torch.tensor(0.0)
            assert torch.isclose(encoded[row, latent], wanted, atol=1e-5)


def test_what_fires_is_above_its_threshold_and_the_rest_is_zero() -> None:
    coder = coder_of()
    encoded = coder.encode(torch.randn(50, 8))
    assert ((encoded == 0) | (encoded > coder.threshold)).all()
    assert 0 < (encoded > 0).float().mean() < 1


def test_any_number_of_leading_axes_is_kept() -> None:
    coder = coder_of()
    x = torch.randn(2, 3, 8)
    assert coder.encode(x).shape == (2, 3, 24)
    assert torch.allclose(coder.encode(x)[1, 2], coder.encode(x[1, 2]), atol=1e-6)
    assert coder.decode(coder.encode(x)).shape == x.shape


def test_decoding_adds_up_the_directions_of_what_fired() -> None:
    coder = coder_of()
    latents = torch.zeros(24)
    latents[5], latents[7] = 2.0, 3.0
    assert torch.allclose(coder.decode(latents), 2 * coder.W_dec[5] + 3 * coder.W_dec[7] + coder.b_dec)


@settings(deadline=None)
@given(k=st.integers(1, 24))
def test_a_top_k_coder_keeps_the_largest_and_no_more(k: int) -> None:
    plain, coder = coder_of(threshold=torch.zeros(24)), coder_of(threshold=torch.zeros(24), k=k)
    x = torch.randn(5, 8)
    every, kept = plain.encode(x), coder.encode(x)
    assert ((kept > 0).sum(-1) <= k).all()
    wanted = torch.zeros_like(every).scatter(-1, (top := every.topk(k)).indices, top.values)
    assert torch.allclose(kept, wanted)


@settings(deadline=None)
@given(latents=st.lists(st.integers(0, 23), max_size=24), seed=st.integers(0, 9))
def test_a_narrowed_coder_gives_the_same_columns(latents: list[int], seed: int) -> None:
    coder, chosen = coder_of(seed=seed), torch.tensor(latents, dtype=torch.long)
    x = torch.randn(4, 8)
    assert torch.allclose(coder.narrowed(chosen).encode(x), coder.encode(x)[:, chosen], atol=1e-5)


def test_bf16_matrices_give_fp32_activations_close_to_the_exact_ones_though_the_mean_is_large() -> None:
    coder = coder_of(d_model=64, d_sae=256, b_dec=torch.full((64,), 100.0))
    x = torch.randn(40, 64) + 100.0
    exact, rounded = coder.encode(x), coder.to(dtype=torch.bfloat16).encode(x)
    assert rounded.dtype == torch.float32
    both = (exact > 0) & (rounded > 0)
    assert ((exact > 0) == (rounded > 0)).float().mean() > 0.99
    assert ((exact - rounded).abs()[both] < 0.02 * exact[both] + 0.1).all()


def test_activations_in_bf16_are_read_without_loss() -> None:
    coder, x = coder_of(), torch.randn(3, 8).bfloat16()
    assert torch.equal(coder.encode(x), coder.encode(x.float()))


@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.parametrize("name", ["b_enc", "W_dec", "b_dec", "threshold"])
def test_weights_that_do_not_fit_are_refused_by_name(name: str) -> None:
    with pytest.raises(InputError, match=rf"{name}: expected .* beside W_enc of .8, 24., got .5."):
        coder_of(**{name: torch.zeros(5)})


@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"W_enc": torch.zeros(5)}, r"W_enc: expected \[d_model, d_sae\], got shape \[5\]"),
        ({"threshold": torch.full((24,), -0.1)}, "threshold: expected no value below 0"),
        ({"k": 0}, "k: expected 1 to 24 latents a token, got 0"),
        ({"k": 25}, "k: expected 1 to 24 latents a token, got 25"),
    ],
)
def test_what_makes_no_coder_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        coder_of(**changes)


def test_a_top_k_coder_cannot_be_narrowed() -> None:
    with pytest.raises(InputError, match="a top-k coder can't be narrowed"):
        coder_of(k=3).narrowed(torch.tensor([1]))


def test_two_coders_are_compared_by_identity_not_by_tensors() -> None:
    coder = coder_of()
    assert coder == coder and coder != coder_of()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_coder_on_the_gpu_encodes_the_same() -> None:
    coder, x = coder_of(), torch.randn(4, 8)
    assert torch.allclose(coder.to("cuda").encode(x.to("cuda")).cpu(), coder.encode(x), atol=1e-3)

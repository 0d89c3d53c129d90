"""The parts of a hand-built model do what they are called, and the rotation hides them."""

import torch

from ace_analysis.evaluation.hand_built import HEADS, LAYERS, HandBuilt, Place


def attention(built: HandBuilt, layer: int, head: int, ids: list[int]) -> torch.Tensor:
    model = built.finished(set())
    model.set_attn_implementation("eager")
    return model(torch.tensor([ids]), output_attentions=True).attentions[layer][0, head]


def test_a_head_attends_to_the_tokens_of_its_list() -> None:
    built = HandBuilt(6, 0)
    built.attends_to(Place(1, 2), [3, 4])
    built.built.add(Place(1, 2))
    pattern = attention(built, 1, 2, [0, 1, 4, 5, 2, 1])
    assert pattern[2:, 2].min() > 0.99


def test_a_head_attends_to_the_token_before() -> None:
    built = HandBuilt(6, 0)
    built.attends_to_the_token_before(Place(0, 1))
    built.built.add(Place(0, 1))
    pattern = attention(built, 0, 1, [0, *([1, 2, 3] * 8)])
    assert pattern.diagonal(-1).min() > 0.95


def test_no_weight_shows_where_the_subspaces_lie() -> None:
    built = HandBuilt(6, 0)
    built.copies(Place(0, 0), "out", 1.0)
    weight = built.finished(set()).lm_head.weight
    assert (weight == 0).sum() == 0 and torch.allclose(weight @ weight.T, torch.eye(6).double(), atol=1e-12)


def test_parts_that_were_not_built_write_little_that_is_predicted() -> None:
    built = HandBuilt(6, 3)
    model = built.finished(set())
    assert model(torch.tensor([[0, 1, 2, 3]])).logits.abs().max() < 0.1
    for name in ("o", "down"):
        writes = built.weights[name]
        junk = writes[..., built.axes("junk"), :].norm()
        assert writes[..., built.axes("out"), :].norm() < 0.05 * junk > 0
    blocks = model.model.layers
    assert len(blocks) == LAYERS
    for block in blocks:
        projections = block.self_attn.o_proj.weight.unflatten(1, (HEADS, -1)).norm(dim=(0, 2))
        assert projections.min() > 0.1 and block.mlp.down_proj.weight.norm() > 0.1


def test_the_same_seed_builds_the_same_model() -> None:
    first, second = (HandBuilt(6, 5).finished(set()).state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    other = HandBuilt(6, 6).finished(set()).state_dict()
    assert not torch.equal(first["lm_head.weight"], other["lm_head.weight"])

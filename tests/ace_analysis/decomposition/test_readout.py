"""A linear readout is linear, and its gradient says where it reads."""

import torch

from ace_analysis.decomposition.readout import LinearReadout

READOUT = LinearReadout((1, 3, 1), torch.tensor([[1.0, 0.0], [0.0, 2.0], [0.5, 0.5]]), 10.0)


def test_its_value_is_what_it_reads_and_its_constant() -> None:
    activation = torch.tensor([[9.0, 9.0], [1.0, 2.0], [9.0, 9.0], [3.0, 4.0]])
    assert float(READOUT(activation)) == 1.0 + 8.0 + 1.5 + 10.0
    assert READOUT(torch.stack([activation, 0 * activation])).tolist() == [20.5, 10.0]


def test_a_position_read_twice_counts_twice_in_the_gradient() -> None:
    gradient = READOUT.gradient(5)
    assert gradient.tolist() == [[0, 0], [1.5, 0.5], [0, 0], [0, 2.0], [0, 0]]
    activation = torch.randn(5, 2)
    assert torch.allclose((gradient * activation).sum(), READOUT.part(activation))

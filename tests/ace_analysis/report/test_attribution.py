"""What an explanation promises of its own numbers."""

from ace_analysis.report.attribution import LayerScore


def test_a_layers_score_is_that_of_its_heads_and_its_mlp() -> None:
    assert LayerScore(3, 0.5, -0.75).score == -0.25

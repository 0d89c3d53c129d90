"""Latents that look like error features and can't be told from chance: to look at, where nothing passes.

Thousands of latents are tested at once, so a few dozen inputs seldom prove any. An empty list would say as
much about the number of inputs as about the model.
"""

from collections.abc import Sequence

from ace_analysis.features.bundle import ErrorFeature


def strongest(found: Sequence[ErrorFeature], count: int, *, both_directions: bool) -> list[ErrorFeature]:
    """Of what was tested, up to `count` that fire more often on wrong code, the largest t first.

    `both_directions` takes those that fire less there, too.
    """
    shown = [
        each
        for each in found
        if fires_as_it_says(each) and (each.paired_t > 0 or (both_directions and each.paired_t < 0))
    ]
    return sorted(shown, key=lambda each: (-abs(each.paired_t), each.density))[:count]


def fires_as_it_says(feature: ErrorFeature) -> bool:
    """Whether it also fires more often, not only more strongly, where its t says so."""
    more_often = feature.rate_buggy > feature.rate_matched
    return more_often if feature.paired_t > 0 else not more_often

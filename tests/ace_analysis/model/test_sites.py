"""Hook names are made in one place, and what is no place is refused."""

import pytest

from ace_analysis.errors import InputError
from ace_analysis.model.sites import STREAMS, Site


@pytest.mark.parametrize("stream", STREAMS)
def test_a_site_is_read_back_from_its_name_and_from_its_hook_name(stream: str) -> None:
    site = Site(9, stream)
    assert Site.parse(str(site)) == site
    assert Site.parse(site.hook_name) == site


def test_a_heads_site_is_read_back_from_its_name() -> None:
    assert Site.parse("3.z.5") == Site(3, "z", 5)
    assert str(Site(3, "z", 5)) == "3.z.5"


def test_hook_names_are_those_of_the_field() -> None:
    assert Site(12).hook_name == "blocks.12.hook_resid_post"
    assert Site(0, "pattern").hook_name == "blocks.0.attn.hook_pattern"
    assert Site(0, "mlp_out").hook_name == "blocks.0.hook_mlp_out"


def test_sites_are_ordered_by_layer() -> None:
    assert sorted([Site(10), Site(9), Site(2)]) == [Site(2), Site(9), Site(10)]


def test_an_unknown_stream_is_an_error_that_names_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"expected a stream among resid_pre.*, got 'resid'"):
        Site.parse("3.resid")


def test_a_negative_layer_is_an_error() -> None:
    with pytest.raises(InputError, match="from 0 up, got -1"):
        Site(-1)


def test_a_head_of_a_stream_without_heads_is_an_error() -> None:
    with pytest.raises(InputError, match="expected no head at 'resid_post'"):
        Site(1, "resid_post", 2)


def test_what_is_no_site_is_an_error() -> None:
    with pytest.raises(InputError, match=r"expected a site such as .* got 'layer 3'"):
        Site.parse("layer 3")

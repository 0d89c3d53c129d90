import pytest

from ace_analysis.report.kinds import kind_text
from ace_analysis.source.kinds import KINDS


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_finding_has_words_of_its_own(kind: str) -> None:
    text = kind_text(kind)
    assert text != kind_text("unheard-of")
    assert text.title[0].isupper()
    assert text.claim[0].islower()
    assert text.help.endswith(".")


def test_a_kind_that_is_not_known_yet_has_general_words() -> None:
    assert kind_text("swapped-universe").title == "Suspicious swapped-universe"

"""Candidates of every source are scored as the model scores them, and told apart in few words."""

import pytest
import torch

from ace_analysis.model.causal import CausalModel
from ace_analysis.report.repair import Source
from ace_analysis.source.document import TextSpan
from ace_analysis.steering.gathering import Candidate, Gathering, describe
from ace_analysis.steering.options import RepairOptions
from ace_analysis.steering.prompts import end_ids, line_end_ids, middle_prompt
from ace_analysis.steering.regions import Level, region_of
from ace_analysis.steering.writing import Writer, WritingOptions

TEXT = (
    "def mean(values):\n    total = 0.0\n    for value in values:\n        total -= value\n    return total\n"
)
LINE = "total -= value"


def gathered(causal: CausalModel, text: str = LINE, **changes: object) -> list[Candidate]:
    start = TEXT.index(text)
    region = region_of(TEXT, TextSpan(start, start + len(text)))
    options = RepairOptions(**changes)  # pyright: ignore[reportArgumentType]
    gathering = Gathering(causal, "import math\n", TEXT, region, options)
    return gathering.candidates(lambda: False, lambda message, fraction: None)


def test_each_text_stands_there_once_and_the_old_one_not_at_all(causal: CausalModel) -> None:
    texts = [each.text for each in gathered(causal)]
    assert texts and len(set(texts)) == len(texts) and LINE not in texts


def test_a_candidates_likelihood_is_the_models(causal: CausalModel) -> None:
    tokenizer = causal.tokenizer
    at = TEXT.index(LINE)
    prompt = middle_prompt(tokenizer, "import math\n" + TEXT[:at], TEXT[at + len(LINE) :])
    ends = sorted(end_ids(tokenizer, causal.end_ids) | line_end_ids(tokenizer))

    def likelihood(text: str) -> float:
        ids = tokenizer.encode(text).ids[1:]
        with torch.no_grad():
            rows = causal.model(torch.tensor([[*prompt, *ids]])).logits[0].log_softmax(-1)
        own = sum(float(rows[len(prompt) - 1 + index, token]) for index, token in enumerate(ids))
        return own + float(rows[-1, ends].logsumexp(-1))

    for each in gathered(causal)[:6]:
        assert each.opinion.middle == pytest.approx(likelihood(each.text), abs=2e-2)
        assert each.opinion.middle_before == pytest.approx(likelihood(LINE), abs=2e-2)


def test_only_the_likeliest_edits_are_read(qwen: CausalModel) -> None:
    few = {each.text for each in gathered(qwen, edits=5, candidates=0, alternatives=0)}
    many = {each.text for each in gathered(qwen, edits=500, candidates=0, alternatives=0)}
    assert len(few) == 5 < len(many) and few < many


def test_of_many_edits_only_the_best_are_read_in_the_middle_too(qwen: CausalModel) -> None:
    found = gathered(qwen, edits=30, edits_read=4, candidates=0, alternatives=3)
    assert len(found) == 4
    assert {each.text for each in found} < {each.text for each in gathered(qwen, edits=30, edits_read=30)}


def test_tokens_are_tried_in_place_of_sites_and_all_else_is_kept(qwen: CausalModel) -> None:
    found = gathered(qwen, edits=0, candidates=0, alternatives=4)
    assert found
    for each in found:
        assert each.opinion.source is Source.TOKEN and each.text != LINE
        same = sum(one == two for one, two in zip(each.text.split(), LINE.split(), strict=False))
        assert same >= 2


def test_what_is_written_ends_with_its_line(filling: CausalModel) -> None:
    for each in gathered(filling, edits=0, alternatives=0, candidates=6, temperature=1.5):
        assert "\n" not in each.text and each.opinion.source in (Source.GREEDY, Source.SAMPLE)


def test_what_is_written_is_not_much_longer_than_what_stands_there(
    causal: CausalModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    lengths: list[int] = []
    write = Writer.write

    def watched(self: Writer, plans: object, options: WritingOptions, cancelled: object) -> object:
        lengths.append(options.max_new_tokens)
        return write(self, plans, options, cancelled)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(Writer, "write", watched)
    own = len(causal.tokenizer.encode(LINE).ids) - 1
    gathered(causal, longer=3)
    gathered(causal, longer=3, max_new_tokens=2)
    assert lengths == [own + 3, 2]


def test_a_region_of_several_lines_is_filled_in_as_a_whole(filling: CausalModel) -> None:
    start = TEXT.index("for")
    region = region_of(TEXT, TextSpan(start, start + 3), Level.BLOCK)
    options = RepairOptions(candidates=3, temperature=1.5, edits=4)
    found = Gathering(filling, "", TEXT, region, options).candidates(
        lambda: False, lambda message, fraction: None
    )
    edits = [each.text for each in found if each.opinion.source is Source.EDIT]
    assert edits and all(text.startswith("for") and text.count("\n") == 1 for text in edits)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("a <= b", "a < b", "`<=` becomes `<`"),
        ("total += values", "total += value", "`values` becomes `value`"),
        ("return x", "return x + 1", "`+ 1` is added"),
        ("return x + 1", "return x", "`+ 1` is removed"),
        ("f(a, b)", "f(b, a)", "`a, b` becomes `b, a`"),
        ("x", "y", "`x` becomes `y`"),
    ],
)
def test_a_change_is_told_by_what_differs(old: str, new: str, told: str) -> None:
    assert describe(old, new) == told

"""An explanation of any text can be shown, on any terminal."""

import io

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from ace_analysis.cli.explain_render import ExplanationRenderer
from ace_analysis.report.attribution import (
    Attribution,
    AttributionTarget,
    LatentScore,
    TargetKind,
    TokenScore,
)
from ace_analysis.report.explanation import Explained
from ace_analysis.source.document import CodeDocument, TextSpan


def shown(text: str, kind: TargetKind = TargetKind.SITE, encoding: str = "utf-8") -> str:
    """All of a text as the target, a latent's place and a token."""
    span = TextSpan(0, len(text))
    why = Attribution(
        target=AttributionTarget(
            kind=kind,
            span=span,
            text=text,
            description=f"evidence {text}",
            probability=0.1,
            finding_kind="comparison",
            threshold=0.3,
            alternative=text,
            alternative_probability=0.2,
        ),
        unit="log-odds",
        value=-1.0,
        latents=(
            LatentScore(
                latent=1, feature="f/1", activation=1.0, threshold=0.5, score=-2.0, span=span, label=text
            ),
        ),
        tokens=(TokenScore(span, text, 0.0),),
        notes=(text,),
    )
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="strict", newline="")
    console = Console(file=file, markup=False, emoji=False, width=80)
    ExplanationRenderer(console).show(
        Explained(path="a.py", document=CodeDocument(uri="a.py", text=text), why=why)
    )
    file.flush()
    return file.buffer.getvalue().decode(encoding)  # pyright: ignore


@given(st.text(max_size=60), st.sampled_from(TargetKind))
def test_no_text_moves_the_cursor_or_turns_its_direction(text: str, kind: TargetKind) -> None:
    told = shown(text, kind)
    assert not any(char in told for char in "\x1b\x07\u202e\u2066\r")


def test_a_terminal_without_blocks_gets_bars_of_another_character() -> None:
    assert "-2.00 ############" in shown("a < b", encoding="ascii")


def test_a_place_below_the_threshold_says_from_when_on_it_is_a_finding() -> None:
    assert "comparison (probability 0.10): no finding, which it is from 0.30 on" in shown("<")


def test_blanks_are_named() -> None:
    told = shown("\n")
    assert "end of line" in told


def test_nothing_is_shown_of_what_could_not_be_explained() -> None:
    console = Console(file=io.StringIO())
    ExplanationRenderer(console).show(
        Explained(path="a", document=CodeDocument(uri="a", text=""), error="gone")
    )
    assert console.file.getvalue() == ""  # pyright: ignore

"""A page is whole in itself, safe whatever the code is, and shows all that a finding comes from."""

from dataclasses import replace
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ace_analysis.report.explanation import Explained
from ace_analysis.report.finding import Finding, SiteScore
from ace_analysis.report.html import FilePage, page_of, why_html
from ace_analysis.source.document import CodeDocument, TextSpan

HOSTILE = (
    "</script><script>alert(1)</script><!-- ]]> <img src=x onerror=alert(1)>\n"
    "שלום = '\U0001f600' < '\u202e\u2066'\n\x00\x1b[31m\ud800 &lt; \" ' `\n"
)


class Page(HTMLParser):
    """Elements, attributes, ids and the text outside of the style sheet."""

    def __init__(self, markup: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(markup)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] != "style":
            self.text += data

    def names(self) -> set[str]:
        return {tag for tag, _ in self.tags}


@pytest.fixture
def page(explained: Explained) -> FilePage:
    why = explained.why
    assert why is not None
    finding = Finding(span=why.target.span, kind="comparison", score=0.8125, threshold=0.5)
    other = Finding(span=TextSpan(0, 3), kind="new-kind", score=0.6, threshold=0.5)
    return FilePage(
        path="src/a b.py",
        document=explained.document,
        sites=(SiteScore(span=why.target.span, text="<", kind="comparison", score=0.8125),),
        findings=(finding, other),
        threshold=0.5,
        explanations={why.target.span: why},
        engine={"model": "m", "layer": 1, "device": "cpu", "dtype": "float32"},
        notes=("A note.",),
    )


def test_the_page_is_well_formed_and_says_what_looked(page: FilePage) -> None:
    read = Page(page_of(page))
    assert read.open == []
    for said in ("src/a b.py", "m · float32 · cpu · read behind block 1", "A note.", "Suspicious comparison"):
        assert said in read.text


def test_nothing_comes_from_elsewhere_and_nothing_runs(page: FilePage) -> None:
    read = Page(page_of(page))
    assert not read.names() & {"script", "link", "img", "iframe", "object", "form", "base", "a:href"}
    for _, attributes in read.tags:
        assert not any(name.startswith("on") or name in ("src", "style") for name in attributes)
        assert (attributes.get("href") or "#").startswith("#")
    policy = [a for tag, a in read.tags if tag == "meta" and a.get("http-equiv") == "Content-Security-Policy"]
    assert "default-src 'none'" in (policy[0]["content"] or "")


def test_every_link_leads_to_a_part_of_the_page_and_no_id_is_there_twice(page: FilePage) -> None:
    read = Page(page_of(page))
    ids = [a["id"] for _, a in read.tags if "id" in a]
    links = [str(a["href"]) for _, a in read.tags if "href" in a]
    assert len(ids) == len(set(ids)) and links
    assert {link[1:] for link in links} <= set(ids)


def test_an_explanation_shows_latents_tokens_map_graph_and_what_is_left(explained: Explained) -> None:
    why = explained.why
    assert why is not None
    text = " ".join(Page(why_html(explained.document, why)).text.split())
    for said in (
        "Evidence that '<' is wrong here: +1.50 log-odds",
        "fires most on '<'",
        "Unexplained: +0.50 log-odds.",
        "add up to nothing",
        "Method: by hand. It is no proof.",
        "+1.25",
        "-0.25",
        "any such place",
    ):
        assert said in text
    markup = why_html(explained.document, why)
    assert 'class="map"' in markup and 'class="graph"' in markup and "%" not in text


def test_an_explanation_without_latents_and_heads_leaves_them_out(explained: Explained) -> None:
    why = explained.why
    assert why is not None
    markup = why_html(explained.document, replace(why, latents=(), heads=(), layers=()))
    assert "Latents that fired" not in markup and 'class="map"' not in markup


def test_a_finding_without_an_explanation_says_so(page: FilePage) -> None:
    assert "Not explained." in Page(page_of(page)).text


def test_a_file_without_findings_says_so(page: FilePage) -> None:
    empty = replace(page, findings=(), sites=(), explanations={}, engine={})
    assert "No findings." in Page(page_of(empty)).text


def test_an_empty_file_is_a_page(page: FilePage) -> None:
    empty = replace(page, document=CodeDocument(uri="e", text=""), findings=(), sites=(), explanations={})
    assert Page(page_of(empty)).open == []


def hostile_page(explained: Explained, text: str) -> str:
    """The text wherever foreign text can stand."""
    why, document = explained.why, CodeDocument(uri="h", text=text)
    assert why is not None
    span = TextSpan(0, len(text))
    target = replace(why.target, span=span, text=text, description=text)
    bad = replace(
        why,
        target=target,
        latents=tuple(replace(each, span=span, label=text, feature=text) for each in why.latents),
        tokens=tuple(replace(each, span=None, text=text) for each in why.tokens),
        notes=(text,),
        method=text,
        unit=text,
    )
    finding = Finding(span=span, kind=text, score=0.5, threshold=0.5)
    page = FilePage(
        path=text,
        document=document,
        sites=(SiteScore(span=span, text=text, kind=text, score=0.5),),
        findings=(finding,),
        threshold=0.5,
        explanations={span: bad},
        engine={"model": text, "layer": text, "device": text, "dtype": text},
        notes=(text,),
    )
    return page_of(page)


ALLOWED = {
    *(
        "html",
        "head",
        "meta",
        "title",
        "style",
        "body",
        "header",
        "main",
        "nav",
        "section",
        "div",
        "h1",
        "h2",
    ),
    *(
        "h3",
        "p",
        "strong",
        "ol",
        "li",
        "a",
        "pre",
        "code",
        "span",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
    ),
    *("svg", "g", "rect", "text", "line", "path"),
}


def test_hostile_code_is_shown_and_does_nothing(explained: Explained) -> None:
    markup = hostile_page(explained, HOSTILE)
    read = Page(markup)
    assert read.open == [] and read.names() <= ALLOWED
    assert "<script" not in markup and "\u202e" not in markup and "\x00" not in markup
    assert "<img src=x onerror=alert(1)>" in read.text and "<U+202E>" in read.text and "שלום" in read.text
    markup.encode("utf-8")


@settings(deadline=None)
@given(st.text(max_size=40))
def test_any_text_makes_a_well_formed_page(text: str) -> None:
    read = Page(hostile_page(_EXPLAINED, text))
    assert read.open == [] and read.names() <= ALLOWED
    assert not any(name.startswith("on") for _, attributes in read.tags for name in attributes)


_EXPLAINED: Explained


@pytest.fixture(autouse=True)
def _for_hypothesis(explained: Explained) -> None:
    """Hypothesis and fixtures of a function's scope don't mix."""
    globals()["_EXPLAINED"] = explained

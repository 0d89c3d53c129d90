import json
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from ace_analysis.source.kinds import KINDS
from ace_lsp.features.pages import EXAMPLES, PAGES, LatentPages, kind_page, latent_page, page_of_kind

HOOK = "blocks.9.hook_resid_post"
FACTS = {
    "feature_idx": 773,
    "paired_t": 47.1,
    "q_value": 0.0,
    "rate_buggy": 0.0719,
    "rate_matched": 0.0215,
    "density": 0.003,
    "kinds": ["none_return"],
    "replicated": True,
    "label": "",
}


def path_of(uri: str) -> Path:
    return Path(unquote(urlsplit(uri).path))


def test_every_kind_has_a_page_and_no_other():
    assert set(EXAMPLES) == set(KINDS) == {path.stem for path in PAGES.glob("*")}


@pytest.mark.parametrize("kind", KINDS)
def test_the_pages_in_the_package_are_those_that_are_made(kind):
    """Else: python -c "from ace_lsp.features.pages import write_kind_pages; write_kind_pages()"."""
    address = page_of_kind(kind)
    assert address is not None and path_of(address).read_text(encoding="utf-8") == kind_page(kind)
    assert f"# ace: ignore[{kind}]" in kind_page(kind)
    wrong, right = EXAMPLES[kind]
    assert wrong != right


def test_a_kind_of_a_newer_engine_has_no_page():
    assert page_of_kind("new-kind") is None


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ACE_CACHE_DIR", str(tmp_path / "cache"))
    folder = tmp_path / "bundle"
    folder.mkdir()
    (folder / "catalog.json").write_text(json.dumps({"features": [FACTS]}))
    return folder


def test_a_latents_page_is_written_when_somebody_looks_at_it(bundle, tmp_path):
    pages = LatentPages(str(bundle), "toy", "abcdef")
    assert not (tmp_path / "cache").exists()
    address = pages.address(f"{HOOK}/773")
    assert address is not None
    assert "7.19 %" in path_of(address).read_text()
    assert pages.address(f"{HOOK}/774") is None


def test_another_bundle_of_the_same_model_has_other_pages(bundle, tmp_path):
    first, second = (LatentPages(str(bundle), "toy", name).address(f"{HOOK}/773") for name in ("a", "b"))
    assert first != second


def test_without_a_catalogue_or_a_place_to_write_there_is_no_page(bundle, tmp_path):
    assert LatentPages("", "toy", "a").address(f"{HOOK}/773") is None
    assert LatentPages(str(tmp_path / "elsewhere"), "toy", "a").address(f"{HOOK}/773") is None
    (tmp_path / "cache").write_text("no folder")
    assert LatentPages(str(bundle), "toy", "a").address(f"{HOOK}/773") is None


@pytest.mark.parametrize("content", ["{", "[]", '{"features": [{}]}'])
def test_a_catalogue_of_another_form_costs_only_the_pages(bundle, content):
    (bundle / "catalog.json").write_text(content)
    assert LatentPages(str(bundle), "toy", "a").address(f"{HOOK}/773") is None


def test_a_latents_page_says_what_was_measured_and_not_what_it_means():
    page = latent_page(f"{HOOK}/773", {**FACTS, "label": "returns None"}, "toy")
    assert page.startswith(f"# Latent 773 of `{HOOK}`\n\nreturns None\n")
    assert "did so again" in page and "none return" in page
    assert "was not shown to do so again" in latent_page(f"{HOOK}/773", {**FACTS, "replicated": False}, "toy")
    assert "no kind by itself" in latent_page(f"{HOOK}/773", {**FACTS, "kinds": []}, "toy")


def test_the_shipped_bundle_has_a_page_for_each_of_its_latents(bundle):
    import ace_analysis

    folders = list((Path(ace_analysis.__file__).parent / "bundles").glob("*/catalog.json"))
    assert folders
    for catalogue in folders:
        pages = LatentPages(str(catalogue.parent), "toy", "a")
        latents = [each["feature_idx"] for each in json.loads(catalogue.read_text())["features"]]
        assert all(pages.address(f"{HOOK}/{latent}") for latent in latents)

"""What a finding is called: from a candidate site's kind to the rule that a user reads and ignores.

A finding says what is probably wrong in the words of a linter; that it was found at a number or at a name is
the engine's business.
"""

from collections.abc import Mapping

from ace_analysis.source.sites import SiteKind

KIND_OF_SITE: Mapping[SiteKind, str] = {
    SiteKind.COMPARISON: "comparison",
    SiteKind.ARITHMETIC: "arithmetic",
    SiteKind.BOOLEAN: "boolean",
    SiteKind.CONSTANT: "constant",
    SiteKind.NUMBER: "off-by-one",
    SiteKind.NAME: "variable-misuse",
    SiteKind.ATTRIBUTE: "wrong-attribute",
    SiteKind.KEYWORD: "wrong-keyword",
    SiteKind.STATEMENT: "missing-guard",
}

KINDS: tuple[str, ...] = tuple(KIND_OF_SITE.values())
"""All kinds of findings, as `# ace: ignore[kind]` and the settings name them."""


def kind_of(site_kind: SiteKind) -> str:
    """The kind of a finding at such a site."""
    return KIND_OF_SITE[site_kind]

"""The style sheet is what its page's policy allows."""

import base64
import hashlib

from ace_analysis.report.style import STYLE, content_security_policy


def test_the_policy_names_the_style_sheets_digest_and_allows_nothing_else() -> None:
    digest = base64.b64encode(hashlib.sha256(STYLE.encode("utf-8")).digest()).decode()
    policy = content_security_policy()
    assert policy == f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"


def test_the_style_sheet_asks_for_nothing_from_elsewhere() -> None:
    assert "url(" not in STYLE and "@import" not in STYLE and "</" not in STYLE


def test_there_is_a_dark_style_and_a_strength_for_each_level() -> None:
    assert "prefers-color-scheme: dark" in STYLE
    assert all(
        f".{name}.h{level} " in STYLE for name in ("heat", "raises", "lowers") for level in range(1, 10)
    )

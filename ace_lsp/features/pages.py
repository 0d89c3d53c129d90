"""Pages that a diagnostic and a hover lead to: one for each kind of finding, one for each latent.

All are Markdown on this machine, because an editor opens that and nothing has to be asked of a network. The
kinds' pages are files of this package, written by `write_kind_pages`; a latent's page is made from the
bundle's catalogue when somebody looks at the latent, since anybody can train a bundle.
"""

import json
import logging
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from ace_analysis.report.kinds import kind_text
from ace_analysis.settings import cache_dir

logger = logging.getLogger(__name__)

PAGES = Path(__file__).parents[1] / "pages"
LATENTS = "latents"
"""The folder of the latents' pages, below the user's cache folder."""

EXAMPLES: Mapping[str, tuple[str, str]] = {
    "comparison": ("if index <= len(items):", "if index < len(items):"),
    "arithmetic": ("total = price - tax", "total = price + tax"),
    "boolean": ("if name and not name.strip():", "if not name or not name.strip():"),
    "constant": ("return None", "return self"),
    "off-by-one": ("for index in range(1, len(items)):", "for index in range(len(items)):"),
    "variable-misuse": ("return low if value > high else value", "return high if value > high else value"),
    "wrong-attribute": ("return self.start - self.start", "return self.end - self.start"),
    "wrong-keyword": ('open(path, errors="utf-8")', 'open(path, encoding="utf-8")'),
    "missing-guard": ("if user.active:", "if user is not None and user.active:"),
}
"""For each kind, a line with such a bug and the line that was meant."""


def kind_page(kind: str) -> str:
    """What a kind of finding is, for whoever meets it for the first time."""
    words = kind_text(kind)
    wrong, right = EXAMPLES[kind]
    return f"""# {words.title} (`{kind}`)

ACE read this code with a code model, and the model's activations at the marked place look as they do on wrong
code. That is a hint and no proof: no rule was broken. The probability in the message was calibrated on code
with planted bugs.

**What to look for.** {words.help}

```python
{wrong}  # marked
{right}  # meant
```

**If it is right as it is.** Write `# ace: ignore[{kind}]` at the end of the line, or
`# ace: ignore-file[{kind}]` into one of the first ten lines; the code actions do so.
In the settings:

```toml
[tool.ace.check]
ignore = ["{kind}"]        # never this kind
max_false_alarms = 0.5     # fewer findings of every kind: false alarms per 100 lines of clean code
```

**Why it was marked.** Hover over the finding: the latents that fired, and the tokens, heads and layers behind
them. `ace explain FILE:LINE:COL` says the same in a terminal.
"""


def write_kind_pages(folder: Path = PAGES) -> None:
    folder.mkdir(exist_ok=True)
    for kind in EXAMPLES:
        (folder / f"{kind}.md").write_text(kind_page(kind), encoding="utf-8")


def page_of_kind(kind: str) -> str | None:
    """Its address; None for a kind that only a newer engine knows."""
    return _addresses().get(kind)


@lru_cache(maxsize=1)
def _addresses() -> Mapping[str, str]:
    return {path.stem: path.as_uri() for path in PAGES.glob("*.md")}


def latent_page(feature: str, facts: Mapping[str, Any], model: str) -> str:
    """What was measured of one latent. `facts` is its entry in the catalogue."""
    hook, _, number = feature.rpartition("/")
    label = f"{facts['label']}\n\n" if facts.get("label") else ""
    kinds = ", ".join(str(kind).replace("_", " ") for kind in facts.get("kinds", ())) or "no kind by itself"
    again = "did so again" if facts.get("replicated") else "was not shown to do so again"
    return f"""# Latent {number} of `{hook}`

{label}One direction of a sparse autoencoder on the activations of {model}. It fires on

| | share of tokens |
|---|---|
| wrong code | {100 * facts["rate_buggy"]:.2f} % |
| the same token in right code | {100 * facts["rate_matched"]:.2f} % |
| all code | {100 * facts["density"]:.2f} % |

and most clearly for these planted bugs: {kinds}. On projects that it was not chosen on it {again}
(paired t {facts["paired_t"]:.1f}, corrected over all latents q {facts["q_value"]:.1e}).

A latent has no meaning that somebody gave it; this is how it was found to behave.
"""


class LatentPages:
    """The pages of one bundle's latents, written when they are asked for."""

    def __init__(self, bundle: str, model: str, fingerprint: str) -> None:
        self._model = model
        self._folder = cache_dir() / LATENTS / f"{Path(model).name}-{fingerprint[:12]}"
        self._facts = _catalogue(Path(bundle) / "catalog.json") if bundle else {}

    def address(self, feature: str) -> str | None:
        """None where the bundle is on another machine, knows nothing of it, or no page can be written."""
        number = feature.rpartition("/")[2]
        if (facts := self._facts.get(number)) is None:
            return None
        path = self._folder / f"{number}.md"
        try:
            if not path.is_file():
                self._folder.mkdir(parents=True, exist_ok=True)
                path.write_text(latent_page(feature, facts, self._model), encoding="utf-8")
        except (OSError, KeyError, TypeError, ValueError) as error:
            logger.info("no page of %s: %r", feature, error)
            return None
        return path.as_uri()


def _catalogue(path: Path) -> Mapping[str, Mapping[str, Any]]:
    """The entries by latent; nothing where there is no catalogue to read."""
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))["features"]
        return {str(each["feature_idx"]): each for each in entries}
    except (OSError, ValueError, KeyError, TypeError) as error:
        logger.info("%s tells nothing of latents: %r", path, error)
        return {}

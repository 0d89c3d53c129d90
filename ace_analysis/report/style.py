"""The style sheet of ACE's pages, as text: a page carries it, and its security policy names its digest.

Two colours say the sign, vermilion raises and blue lowers: they stay apart for people who see few colours
(Okabe and Ito 2008). A strength is how much of the colour is mixed into the background, in light and dark.
"""

import base64
import hashlib

_LEVELS = "\n".join(
    f".{name}.h{level} {{ background: color-mix(in srgb, var(--{colour}) {8 * level}%, transparent); }}"
    for name, colour in (("heat", "raises"), ("raises", "raises"), ("lowers", "lowers"))
    for level in range(1, 10)
)

STYLE = f"""
:root {{ color-scheme: light dark; --raises: #d55e00; --lowers: #0072b2; --back: #fff; --text: #1c1e21;
  --soft: #6a7178; --line: #d9dde1; --panel: #f6f7f9; }}
@media (prefers-color-scheme: dark) {{ :root {{ --raises: #ff8c3a; --lowers: #56b4e9; --back: #16181b;
  --text: #e4e6e8; --soft: #9aa1a8; --line: #363b41; --panel: #1e2125; }} }}
* {{ box-sizing: border-box; }}
body {{ margin: 0 auto; max-width: 76rem; padding: 1.5rem 1.25rem 4rem; background: var(--back);
  color: var(--text); font: 15px/1.5 system-ui, sans-serif; }}
h1 {{ font-size: 1.35rem; margin: 0 0 .25rem; overflow-wrap: anywhere; }}
h2 {{ font-size: 1.1rem; margin: 0 0 .4rem; }}
h3 {{ font-size: .95rem; margin: 1.1rem 0 .35rem; }}
p {{ margin: .3rem 0; }}
.soft {{ color: var(--soft); font-size: .88rem; }}
a {{ color: inherit; }}
:focus-visible {{ outline: 2px solid var(--lowers); outline-offset: 2px; }}
pre.code {{ margin: .6rem 0 1.2rem; padding: .7rem 0; overflow-x: auto; background: var(--panel);
  border: 1px solid var(--line); border-radius: 8px; tab-size: 4;
  font: 13px/1.6 ui-monospace, "DejaVu Sans Mono", monospace; }}
.line {{ display: block; padding-right: 1rem; unicode-bidi: isolate; min-width: max-content; }}
.line .number {{ display: inline-block; width: 3.4rem; padding-right: 1rem; text-align: right;
  color: var(--soft); user-select: none; }}
.code span[title], .code a[title] {{ border-radius: 3px; }}
{_LEVELS}
.found {{ outline: 2px solid var(--raises); text-decoration: none; font-weight: 600; }}
.target {{ outline: 2px solid var(--text); }}
section {{ border-top: 1px solid var(--line); padding-top: 1.2rem; margin-top: 1.6rem; }}
section:target h2 {{ text-decoration: underline; text-decoration-color: var(--raises); }}
.claim {{ font-size: 1rem; }}
.parts {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(26rem, 1fr)); gap: 0 2rem;
  align-items: start; }}
.whole {{ grid-column: 1 / -1; }}
.wide {{ overflow-x: auto; }}
table {{ border-collapse: collapse; width: 100%; font-size: .88rem; }}
th {{ text-align: left; font-weight: 600; color: var(--soft); white-space: nowrap; }}
td:first-child {{ white-space: nowrap; }}
th, td {{ padding: .15rem .6rem .15rem 0; vertical-align: top; }}
td.score {{ text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }}
td.bar {{ width: 8rem; }}
code.token {{ background: var(--panel); border-radius: 3px; padding: 0 .25rem;
  font: .92em ui-monospace, "DejaVu Sans Mono", monospace; overflow-wrap: anywhere; }}
ol.findings {{ padding-left: 1.4rem; }}
svg {{ max-width: 100%; height: auto; }}
svg text {{ fill: var(--text); font: 11px system-ui, sans-serif; text-anchor: middle; pointer-events: none; }}
svg text.layer {{ text-anchor: start; fill: var(--soft); }}
svg rect.raises {{ fill: var(--raises); }}
svg rect.lowers {{ fill: var(--lowers); }}
svg rect.back {{ fill: var(--back); }}
svg rect.raises.edge {{ stroke: var(--raises); }}
svg rect.lowers.edge {{ stroke: var(--lowers); }}
svg path {{ fill: none; stroke-linecap: round; }}
svg path.raises {{ stroke: var(--raises); }}
svg path.lowers {{ stroke: var(--lowers); }}
svg.bar line {{ stroke: var(--line); }}
.legend span {{ margin-right: .2rem; padding: 0 .45rem; border-radius: 3px; color: var(--text); }}
"""


def content_security_policy(*styles: str) -> str:
    """A page may do nothing but show itself in these styles (none: STYLE): no script, no address, no form."""
    digests = (
        base64.b64encode(hashlib.sha256(each.encode()).digest()).decode() for each in styles or (STYLE,)
    )
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    return f"default-src 'none'; style-src {allowed}; base-uri 'none'; form-action 'none'"

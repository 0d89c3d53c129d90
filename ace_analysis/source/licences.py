"""A licence's name as SPDX writes it, from the many ways in which packages state one.

A list of what a model was trained on is of use only where equal licences have equal names. What a statement
leaves open stays open: "BSD License" alone doesn't say which, so it becomes BSD and nothing more exact.
"""

import re
from collections.abc import Iterable

_EXPRESSION = re.compile(
    r"\(*(?:LicenseRef-)?[A-Za-z0-9.+-]+\)*(?:\s+(?:AND|OR|WITH)\s+\(*(?:LicenseRef-)?[A-Za-z0-9.+-]+\)*)*"
)
_KNOWN = {
    each.lower(): each
    for each in (
        *("0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "CC0-1.0", "CNRI-Python", "ISC"),
        *("GPL-2.0", "GPL-3.0", "LGPL-2.1", "LGPL-3.0", "MIT", "MIT-0", "MIT-CMU", "MPL-2.0", "PSF-2.0"),
        *("Python-2.0", "Unlicense", "Zlib", "ZPL-2.1"),
    )
}
_SPOKEN = tuple(
    (re.compile(pattern, re.IGNORECASE), name)
    for pattern, name in (
        (r"apache.*(?<!\d)1\.1", "Apache-1.1"),
        (r"apache|^asl\b", "Apache-2.0"),
        (r"(3|three)[- ]?clause|(new|modified|revised) bsd", "BSD-3-Clause"),
        (r"(2|two)[- ]?clause|simplified bsd|freebsd", "BSD-2-Clause"),
        (r"\bbsd\b", "BSD"),
        (r"\bmit\b|\bexpat\b", "MIT"),
        (r"\bisc\b|\biscl\b", "ISC"),
        (r"python software foundation|\bpsfl?\b", "PSF-2.0"),
        (r"mozilla|\bmpl\b", "MPL-2.0"),
        (r"\bzlib\b", "Zlib"),
        (r"unlicense", "Unlicense"),
        (r"public domain", "public domain"),
    )
)
_VAGUE = frozenset({"BSD", "public domain"})


def spdx_of(stated: str) -> str:
    """One statement of a licence as SPDX has it; unknown words are given back as they are, without spaces
    around them.

    Several licences of a list (as classifiers state them) are joined by commas, since such a list does not
    say whether one may choose.
    """
    text = " ".join(stated.split())
    parts = [part.strip() for part in text.split(",")]
    if len(parts) > 1 and not re.search(r"version|copyright", text, re.IGNORECASE):
        names = [_one(part) for part in parts]
        known = [name for name, part in zip(names, parts, strict=True) if name != part or _is_exact(name)]
        return ", ".join(dict.fromkeys(known)) or text
    return _one(text)


def best_licence(stated: Iterable[str]) -> str:
    """The most exact of several statements about one project; of equally exact ones the first."""
    names = [name for name in map(spdx_of, stated) if name]
    exact = [name for name in names if _is_exact(name)]
    known = [name for name in names if name in _VAGUE]
    return (exact or known or names or [""])[0]


def _one(text: str) -> str:
    if _EXPRESSION.fullmatch(text) and all(_is_identifier(word) for word in _words(text)):
        return re.sub(r"[A-Za-z0-9.+-]+", lambda word: _KNOWN.get(word[0].lower(), word[0]), text)
    return next((name for pattern, name in _SPOKEN if pattern.search(text)), text)


def _words(text: str) -> list[str]:
    return [word for word in re.findall(r"[A-Za-z0-9.+-]+", text) if word not in ("AND", "OR", "WITH")]


def _is_identifier(word: str) -> bool:
    return word.lower() in _KNOWN or word.startswith("LicenseRef-") or bool(re.search(r"-\d|-[a-z]+$", word))


def _is_exact(name: str) -> bool:
    """Whether a name says all that SPDX would."""
    return all(
        _EXPRESSION.fullmatch(part) and all(map(_is_identifier, _words(part))) for part in name.split(", ")
    )

"""An offset means one place, or a clear message; a prompt's places are found again in the document."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ace_analysis.engine.places import Place, place_at
from ace_analysis.errors import InputError
from ace_analysis.source.document import CodeDocument, TextSpan
from ace_analysis.source.syntax import Scope, scopes_of

TEXT = """# \U0001f600 start
import os
from typing import (
    Any,
)


class Reader(object):
    def read(self, path: Any):
        if os.path.exists(path):
            return 1

LIMIT = 3
"""


def document(text: str = TEXT) -> CodeDocument:
    return CodeDocument(uri="a.py", text=text)


def prompt_of(place: Place) -> str:
    return place.scope.prompt(place.document.text)


def test_the_scope_and_the_offset_in_its_prompt_are_found() -> None:
    place = place_at(document(), TEXT.index("exists"))
    assert place.scope.name == "Reader.read"
    assert prompt_of(place)[place.in_prompt :].startswith("exists(path)")
    assert place.text.startswith("    def read")


def test_every_place_of_the_scope_is_found_again_in_the_document() -> None:
    place = place_at(document(), TEXT.index("exists"))
    prompt, header = prompt_of(place), len(place.scope.header)
    for start in range(header, len(prompt)):
        found = place.in_document(TextSpan(start, len(prompt)))
        assert found is not None and TEXT[found.start : found.end] == prompt[start:]


@pytest.mark.parametrize("word", ["import os", "os", "from typing", "Any", "class Reader", ")"])
def test_places_of_the_header_are_found_where_they_are_written(word: str) -> None:
    place = place_at(document(), TEXT.index("exists"))
    start = place.scope.header.index(word)
    found = place.in_document(TextSpan(start, start + len(word)))
    assert found is not None and TEXT[found.start : found.end] == word
    assert found.start == TEXT.index(place.scope.header.splitlines()[0]) or found.end <= TEXT.index(
        "def read"
    )


def test_a_token_that_joins_header_and_scope_lies_in_the_scope() -> None:
    place = place_at(document(), TEXT.index("exists"))
    header = len(place.scope.header)
    found = place.in_document(TextSpan(header - 1, header + 4))
    assert found == TextSpan(place.scope.span.start, place.scope.span.start + 4)


def test_a_header_that_is_not_in_the_document_has_no_place() -> None:
    (scope,) = scopes_of("x = 1\n")
    place = Place(document("x = 1\n"), 0, _with_header(scope, "import gone\n"))
    assert place.in_document(TextSpan(0, 6)) is None


def _with_header(scope: Scope, header: str) -> Scope:
    return replace(scope, header=header)


@pytest.mark.parametrize("offset", [-1, len(TEXT), len(TEXT) + 5])
def test_an_offset_outside_of_the_text_is_told(offset: int) -> None:
    with pytest.raises(InputError, match=f"an offset from 0 to {len(TEXT) - 1}, got {offset}"):
        place_at(document(), offset)


def test_an_empty_text_has_no_place() -> None:
    with pytest.raises(InputError, match="got an empty one"):
        place_at(document(""), 0)


def test_white_space_is_told_with_line_and_column() -> None:
    with pytest.raises(InputError, match="white space at line 9, column 7"):
        place_at(document(), TEXT.index("def read") + 3)


@pytest.mark.parametrize("word", ["import os", "# \U0001f600", "class Reader"])
def test_what_no_scope_holds_is_told(word: str) -> None:
    with pytest.raises(InputError, match="imports, class lines and comments"):
        place_at(document(), TEXT.index(word))


@given(st.text(alphabet="ab \n\t():=#'\r", max_size=40), st.integers(-2, 45))
def test_any_offset_of_any_text_is_a_place_or_an_input_error(text: str, offset: int) -> None:
    try:
        place = place_at(document(text), offset)
    except InputError:
        return
    assert place.text and place.scope.prompt(text)[place.in_prompt] == text[offset]

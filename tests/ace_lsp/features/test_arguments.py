from types import SimpleNamespace

import pytest
from lsprotocol import types
from pygls.exceptions import JsonRpcInvalidParams

from ace_lsp.features.arguments import options_of, position_of, range_of, uri_of

HERE = {"line": 3, "character": 4}


@pytest.mark.parametrize("value", [HERE, SimpleNamespace(**HERE), types.Position(3, 4)])
def test_a_position_is_read_from_plain_and_from_structured_json(value):
    assert position_of("c", value) == types.Position(3, 4)


@pytest.mark.parametrize("value", [None, 3, {}, {"line": True, "character": 0}, {"line": 0, "character": -1}])
def test_what_is_no_position_is_named(value):
    with pytest.raises(JsonRpcInvalidParams, match=r"c: expected \{line, character\}"):
        position_of("c", value)


def test_a_range_is_two_positions():
    assert range_of("c", {"start": HERE, "end": HERE}).start == types.Position(3, 4)
    with pytest.raises(JsonRpcInvalidParams):
        range_of("c", {"start": HERE})


def test_options_have_the_type_of_their_default():
    assert options_of("c", {"show": False}, show=True, name="") == {"show": False, "name": ""}
    assert options_of("c", None, show=True) == {"show": True}
    with pytest.raises(JsonRpcInvalidParams, match="c: show: expected bool, got 1"):
        options_of("c", {"show": 1}, show=True)
    with pytest.raises(JsonRpcInvalidParams, match="c: expected one of show, got 'x'"):
        options_of("c", {"x": 1}, show=True)
    with pytest.raises(JsonRpcInvalidParams, match="c: expected options by name, got 3"):
        options_of("c", 3, show=True)


def test_an_address_is_a_text():
    assert uri_of("c", "file:///a") == "file:///a"
    with pytest.raises(JsonRpcInvalidParams, match="c: expected the address of a document, got 3"):
        uri_of("c", 3)

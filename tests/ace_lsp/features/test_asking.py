"""What a person answered, and that no answer is none."""

from typing import Any, cast

import pytest
from lsprotocol import types

from ace_lsp.features.asking import choice


class Client:
    def __init__(self, answer: object) -> None:
        self.answer = answer
        self.asked: list[types.ShowMessageRequestParams] = []

    async def window_show_message_request_async(self, params: types.ShowMessageRequestParams) -> object:
        self.asked.append(params)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


async def test_the_button_that_was_pressed_is_the_answer() -> None:
    client = Client(types.MessageActionItem("Yes"))
    assert await choice(cast(Any, client), "Really?", "Yes", "No") == "Yes"
    (asked,) = client.asked
    assert asked.message == "Really?" and [each.title for each in asked.actions or ()] == ["Yes", "No"]


@pytest.mark.parametrize("answer", [None, RuntimeError("the client can't ask")], ids=["closed", "no way"])
async def test_who_was_not_asked_and_who_closed_the_question_chose_nothing(answer: object) -> None:
    assert await choice(cast(Any, Client(answer)), "Really?", "Yes") is None

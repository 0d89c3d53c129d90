import pytest

from ace_lsp.analyst import State, Status
from ace_lsp.features.status import sentence_of, server_status_of


@pytest.mark.parametrize("state", list(State))
def test_only_a_failure_is_an_error_and_only_work_is_not_rest(state):
    told = server_status_of(Status(state=state))
    assert (told["health"] == "error") is (state is State.FAILED)
    assert told["quiescent"] is (state in (State.ABSENT, State.READY, State.FAILED))


def test_the_sentence_names_state_reason_and_model():
    info = {"model": "toy", "device": "cpu", "dtype": "torch.bfloat16"}
    assert sentence_of(Status(state=State.READY, info=info)) == "ready: toy on cpu bfloat16"
    edited = {**info, "edited_from": "base"}
    told = sentence_of(Status(state=State.READY, info=edited))
    assert told == "ready: toy (edited from base) on cpu bfloat16"
    assert sentence_of(Status(state=State.FAILED, message="no model")) == "failed: no model"
    assert sentence_of(Status(state=State.BUSY, info={"model": "toy"})) == "busy: toy"

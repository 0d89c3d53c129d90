import sys

import pytest

from ace_lsp.worker_process import WorkerDied, WorkerProcess, WorkerRefused

ECHO = """
import sys, json
def send(message):
    body = json.dumps(message).encode()
    sys.stdout.buffer.write(b"Content-Length: %d\\r\\n\\r\\n" % len(body) + body)
    sys.stdout.buffer.flush()
def receive():
    length = int(sys.stdin.buffer.readline().split(b":")[1])
    sys.stdin.buffer.readline()
    return json.loads(sys.stdin.buffer.read(length))
"""


async def started(script: str, notes: list | None = None) -> WorkerProcess:
    heard = notes if notes is not None else []
    command = (sys.executable, "-c", ECHO + script)
    return await WorkerProcess.start(command, lambda method, note: heard.append((method, note)))


async def test_answers_and_notes_arrive():
    notes: list = []
    script = "m = receive(); send({'method': 'n', 'params': {'x': 1}}); "
    process = await started(script + "send({'id': m['id'], 'result': m['params']})", notes)
    _, reply = process.send("echo", {"a": 1})
    assert await reply == {"a": 1}
    assert notes == [("n", {"x": 1})]
    await process.stop()


async def test_a_refusal_says_why_and_names_the_kind():
    script = (
        "m = receive(); send({'id': m['id'], 'error': {'message': 'no', 'data': {'type': 'ModelNotFound'}}})"
    )
    process = await started(script)
    with pytest.raises(WorkerRefused, match="no") as caught:
        await process.send("load", {})[1]
    assert caught.value.kind == "ModelNotFound"
    await process.kill()


async def test_a_death_fails_what_waits_with_exit_code_and_last_words():
    process = await started(
        "receive(); sys.stderr.write('out of memory\\n'); sys.stderr.flush(); sys.exit(3)"
    )
    with pytest.raises(WorkerDied, match=r"\(exit code 3\): out of memory"):
        await process.send("load", {})[1]
    with pytest.raises(WorkerDied):
        await process.send("load", {})[1]


async def test_a_kill_is_told_by_its_signal():
    process = await started("import time; time.sleep(60)")
    await process.kill()
    with pytest.raises(WorkerDied, match="signal 9"):
        await process.send("load", {})[1]


async def test_a_progress_bar_without_a_line_end_does_not_block_the_worker():
    script = "m = receive(); sys.stderr.write('x' * 1_000_000); sys.stderr.flush(); "
    process = await started(script + "send({'id': m['id'], 'result': 1})")
    assert await process.send("load", {})[1] == 1
    await process.kill()
    assert all(len(line) <= 1 << 17 for line in process.last_words)


async def test_a_worker_that_does_not_speak_the_protocol_is_killed():
    process = await started("send([1, 2]); import time; time.sleep(60)")
    with pytest.raises(WorkerDied):
        await process.send("load", {})[1]


async def test_a_worker_that_ignores_the_end_of_its_input_is_killed():
    process = await started("import time; time.sleep(60)")
    await process.stop(grace=0.1)
    assert process.ended.is_set()

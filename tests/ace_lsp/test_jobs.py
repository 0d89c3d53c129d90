import asyncio

from ace_lsp.analyst import Priority
from ace_lsp.jobs import Job, JobQueue


def job(priority: Priority) -> Job:
    return Job(method="ace/scan", params={}, priority=priority)


async def test_the_most_urgent_job_comes_first_and_equals_in_their_order():
    queue = JobQueue()
    background, first, second, command = map(
        job, (Priority.BACKGROUND, Priority.VISIBLE, Priority.VISIBLE, Priority.COMMAND)
    )
    for each in (background, first, second, command):
        queue.put(each)
    assert [await queue.take(1) for _ in range(4)] == [command, first, second, background]


async def test_a_job_that_runs_again_keeps_its_place():
    queue = JobQueue()
    first, second = job(Priority.OTHER), job(Priority.OTHER)
    queue.put(second)
    first.again()
    queue.put(first)
    assert await queue.take(1) is first


async def test_what_may_have_been_done_is_not_begun_again():
    assert job(Priority.COMMAND).repeats
    for method in ("ace/edit/apply", "ace/edit/undo"):
        assert not Job(method=method, params={}, priority=Priority.COMMAND).repeats


async def test_taking_from_an_empty_queue_ends_with_the_time_out_or_with_a_job():
    queue = JobQueue()
    assert await queue.take(0.01) is None
    waiting = asyncio.ensure_future(queue.take(5))
    await asyncio.sleep(0)
    late = job(Priority.HOVER)
    queue.put(late)
    assert await waiting is late


async def test_cancelling_the_caller_stops_the_job():
    stopped = job(Priority.VISIBLE)
    stopped.future.cancel()
    await asyncio.sleep(0)
    assert stopped.stop.is_set()
    stopped.again()
    assert stopped.stop.is_set()


async def test_a_preempted_job_can_be_run_again():
    preempted = job(Priority.OTHER)
    preempted.preempted = True
    preempted.stop.set()
    preempted.again()
    assert not preempted.stop.is_set() and not preempted.preempted


async def test_only_what_nobody_waits_for_yields():
    assert [job(priority).yields for priority in Priority] == [False, False, False, True, True]


async def test_drained_and_discarded_jobs_are_gone():
    queue = JobQueue()
    one, other = job(Priority.OTHER), job(Priority.OTHER)
    queue.put(one)
    queue.put(other)
    queue.discard(one)
    queue.discard(one)
    assert queue.drain() == [other]
    assert len(queue) == 0

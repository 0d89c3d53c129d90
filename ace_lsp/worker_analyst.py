"""The analyst that keeps a worker process.

    absent ──job──> starting ──> loading ──> ready <──> busy
       ^                │            │         │          │
       └── idle ────────┼────────────┼─────────┘          │
           crash: ──────┴────────────┴── again, later ────┘     cannot load, crashes on and on: failed

One job runs at a time. A job that the worker dies of is done once more and then given up. A worker that
ignores a cancel is killed. `failed` is left by `restart` only, so an engine that can't be loaded costs one
message and not one for each keystroke.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping
from typing import Any

from ace_lsp.analyst import AnalystError, AnalystUnavailable, Priority, State, Status
from ace_lsp.jobs import Job, JobQueue
from ace_lsp.verbs import Verbs
from ace_lsp.worker_process import WorkerDied, WorkerPlan, WorkerProcess, WorkerRefused

logger = logging.getLogger(__name__)

START_ATTEMPTS = 2
"""A worker that dies this often before it has loaded once won't load at all."""
LONGEST_BACKOFF = 60.0
AGAIN = "the worker ended; the next job starts it again"


class WorkerAnalyst(Verbs):
    """See the module's docstring; the interface is `ace_lsp.analyst.Analyst`."""

    def __init__(self, plan: Callable[[], WorkerPlan]) -> None:
        self._make_plan = plan
        self._plan = WorkerPlan()
        self._queue = JobQueue()
        self._listeners: list[Callable[[Status], None]] = []
        self._status = Status()
        self._process: WorkerProcess | None = None
        self._loaded = False
        self._running: Job | None = None
        self._driver: asyncio.Task[None] | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._crashes = 0
        self._restarting = False
        self._pause = asyncio.Event()
        """Set to end a pause between two starts early."""

    @property
    def status(self) -> Status:
        return self._status

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None else None

    def supports(self, method: str) -> bool:
        return method in self._status.info.get("methods", ())

    def subscribe(self, listener: Callable[[Status], None]) -> None:
        self._listeners.append(listener)

    async def restart(self) -> None:
        self._crashes = 0
        self._restarting = self._running is not None or self._status.state in (State.STARTING, State.LOADING)
        self._pause.set()
        await self._bury()
        self._set(State.ABSENT)

    async def cancel_loading(self) -> None:
        """Give up loading, on a person's word: no attempt follows until `restart`."""
        if self._status.state in (State.STARTING, State.LOADING):
            self._give_up("Loading the model was cancelled. Restart the worker to load it.", by_user=True)
            await self._bury()

    async def close(self) -> None:
        self._status = Status(state=State.FAILED, message="The server is ending.")
        if self._driver is not None:
            self._driver.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._driver
            self._driver = None
        for job in self._queue.drain():
            job.future.cancel()
        if self._process is not None:
            await self._process.stop(grace=0.5)

    async def _submit(self, job: Job) -> Any:
        if self._status.state is State.FAILED:
            raise AnalystUnavailable(self._status.message)
        self._queue.put(job)
        if self._driver is None or self._driver.done():
            self._driver = asyncio.ensure_future(self._drive())
        running = self._running
        if running is not None and running.yields and job.priority <= Priority.VISIBLE:
            running.preempted = True
            running.stop.set()
        try:
            return await job.future
        except WorkerRefused as error:
            raise AnalystError(str(error)) from error
        finally:
            self._queue.discard(job)

    async def _drive(self) -> None:
        while True:
            job = await self._queue.take(self._idle_seconds())
            if job is None:
                logger.info("no work for a while: unloading the model")
                await self._bury()
                self._set(State.ABSENT)
                continue
            if job.future.done():
                continue
            self._running = job
            try:
                process = await self._ready_process()
                if job.future.done():
                    pass  # given up while the model was loading, which is not a waste
                elif process is None:
                    self._queue.put(job)
                else:
                    await self._perform(process, job)
            except AnalystUnavailable as error:
                self._refuse([job, *self._queue.drain()], error)
            except Exception as error:
                logger.exception("the job %s failed unexpectedly", job.method)
                self._refuse([job], AnalystError(f"unexpected: {error!r}"))
            finally:
                self._running = None
                if self._status.state is State.BUSY:
                    self._set(State.READY)
                elif self._status.state is State.STARTING and not self._queue:
                    self._set(State.ABSENT, AGAIN)

    def _idle_seconds(self) -> float | None:
        minutes = self._plan.settings.idle_minutes
        return minutes * 60 if self._process is not None and minutes > 0 else None

    async def _ready_process(self) -> WorkerProcess | None:
        """A process with the model loaded; None where there has to be another attempt."""
        if self._status.state is State.FAILED:
            raise AnalystUnavailable(self._status.message)
        if self._process is not None and self._loaded and not self._process.ended.is_set():
            return self._process
        await self._bury()
        await self._wait_after_crashes()
        self._set(State.STARTING, "starting the worker")
        self._restarting = False
        self._plan = self._make_plan()
        command = self._plan.command
        try:
            self._process = process = await WorkerProcess.start(command, self._hear)
        except OSError as error:
            raise self._give_up(f"The worker can't be started: {command[0]}: {error.strerror}") from error
        if self._restarting:  # asked for while it was being spawned: by an old plan
            await self._bury()
            return None
        self._watcher = asyncio.ensure_future(self._watch(process))
        self._set(State.LOADING, "loading the model")
        _, reply = process.send("ace/load", {"settings": dict(self._plan.engine)})
        try:
            info = await reply
        except WorkerRefused as error:
            await self._bury()
            raise self._give_up(str(error)) from error
        except WorkerDied as error:
            self._process = None
            self._after_crash(error, self._crashes + 1 >= START_ATTEMPTS)
            return None
        self._loaded = True
        self._set(State.READY, info=info or {})
        return process

    async def _wait_after_crashes(self) -> None:
        if self._crashes > 1:
            seconds = min(LONGEST_BACKOFF, self._plan.settings.backoff * 2 ** (self._crashes - 2))
            self._pause.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._pause.wait()

    async def _perform(self, process: WorkerProcess, job: Job) -> None:
        self._set(State.BUSY)
        request, reply = process.send(job.method, job.params)
        stop = asyncio.ensure_future(job.stop.wait())
        ignored = False
        try:
            await asyncio.wait({reply, stop}, return_when=asyncio.FIRST_COMPLETED)
            if not reply.done():
                process.notify("$/cancelRequest", {"id": request})
                await asyncio.wait({reply}, timeout=self._plan.settings.cancel_timeout)
                ignored = not reply.done()
            if ignored:
                logger.warning("the worker ignored a cancel; killing it")
                await self._bury()
        finally:
            stop.cancel()
        self._settle(job, reply, killed=ignored)

    def _settle(self, job: Job, reply: asyncio.Future[Any], *, killed: bool) -> None:
        """Pass on how a job ended, or queue it once more."""
        error = reply.exception()
        died = isinstance(error, WorkerDied)
        if error is None:
            self._crashes = 0
        if died and not killed and not self._restarting:
            job.crashes += 1
            self._after_crash(error, self._crashes + 1 >= self._plan.settings.max_crashes)
        if job.future.done():
            return
        if error is None:
            job.future.set_result(reply.result())
        elif isinstance(error, WorkerRefused) and not job.preempted:
            job.future.set_exception(error)
        elif not job.repeats:
            told = "the worker ended meanwhile; `ace edit list` tells whether it was done"
            job.future.set_exception(AnalystError(told))
        elif job.crashes > 1:
            job.future.set_exception(AnalystError(f"{error} twice at the same job, which was given up"))
        else:
            job.again()
            self._queue.put(job)

    def _after_crash(self, error: BaseException, hopeless: bool) -> None:
        if self._restarting or self._status.state is State.FAILED:
            return
        self._crashes += 1
        logger.warning("%s (%d in a row)", error, self._crashes)
        if hopeless:
            self._give_up(f"The worker does not stay up: {error}")
        else:
            self._set(State.STARTING, "the worker died; starting it again")

    def _give_up(self, reason: str, *, by_user: bool = False) -> AnalystUnavailable:
        self._set(State.FAILED, reason, info={"by_user": True} if by_user else {})
        return AnalystUnavailable(reason)

    def _refuse(self, jobs: list[Job], error: AnalystError) -> None:
        for job in jobs:
            if not job.future.done():
                job.future.set_exception(error)

    async def _bury(self) -> None:
        process, self._process, self._loaded = self._process, None, False
        if process is not None:
            await process.kill()

    async def _watch(self, process: WorkerProcess) -> None:
        """Notice a death while nothing runs; the next job starts a new worker."""
        await process.ended.wait()
        if process is self._process and self._running is None:
            self._process, self._loaded = None, False
            self._set(State.ABSENT, AGAIN)
            self._queue.wake()

    def _hear(self, method: str, note: Mapping[str, Any]) -> None:
        if method == "ace/progress" and self._status.state is State.LOADING:
            self._set(State.LOADING, str(note.get("message", "")), fraction=note.get("fraction"))
        elif (job := self._running) is not None and job.on_note is not None and not job.stop.is_set():
            try:
                job.on_note(method, note)
            except Exception:
                logger.exception("unreadable note from the worker: %s", method)

    def _set(
        self,
        state: State,
        message: str = "",
        *,
        fraction: float | None = None,
        info: Mapping[str, Any] | None = None,
    ) -> None:
        kept = {} if state is State.FAILED else self._status.info
        status = Status(state=state, message=message, fraction=fraction, info=kept if info is None else info)
        if status == self._status:
            return
        self._status = status
        for listener in self._listeners:
            listener(status)

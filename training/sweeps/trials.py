"""Runs each trial of a sweep in its own process, which frees its memory."""

import asyncio
import math
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from keras_tuner.engine.base_tuner import BaseTuner
from keras_tuner.engine.trial import Trial, TrialStatus

from keras_resnet.errors import Stopped, UsageError
from training.distributed.launch import share_of_gpus
from training.distributed.processes import forward_signals, start_process
from training.recipes.recipe import Recipe
from training.runs.run import Run
from training.storage.writing import write_json
from training.sweeps.encoding import decode
from training.sweeps.folder import Sweep
from training.sweeps.journaled import OBJECTIVE, JournaledOracle
from training.sweeps.plan import Plan
from training.sweeps.results import last_epoch

MAX_RESUMES = 2  # times that a trial resumes after its process was killed
TERMINATED = 128 + signal.SIGTERM  # exit code of a trial that was asked to end
CHIEF = "chief"
PAUSE = 0.05  # seconds between two looks at a trial's process


class ProcessTuner(BaseTuner):
    """A keras-tuner tuner whose workers train one trial at a time, each in a process.

    The workers are coroutines of one thread. So neither keras-tuner's oracle nor Keras
    needs a lock, and the thread lives as long as the trials' processes, which end with
    the thread that started them.

    Args:
        oracle: Chooses the trials. Its state is restored already, except in a worker
            whose chief has the journal.
        plan: Maps the trials' values to recipes.
        sweep: The folder of the sweep.
        workers: Names of the workers.
    """

    def __init__(
        self, oracle: JournaledOracle, plan: Plan, sweep: Sweep, workers: Sequence[str]
    ) -> None:
        self._plan = plan
        self._sweep = sweep
        self._workers = workers
        # Their trials are finished first.
        self._earlier_workers = [
            name for name in oracle.ongoing_trials if name not in workers
        ]
        self._processes: list[subprocess.Popen[bytes]] = []
        self._signals: list[int] = []
        # keras-tuner requires a folder for its state; none of that state is used.
        super().__init__(oracle, directory=str(sweep.path), project_name="logs")

    def search(self, *args: Any, **options: Any) -> None:
        """Runs trials until none are left.

        Raises:
            Stopped: A signal arrived.
        """
        if self.tuner_id == CHIEF:
            super().search(*args, **options)  # serves the oracle to the workers
            return
        with forward_signals(self._processes) as self._signals:
            try:
                asyncio.run(self._run_workers())
            finally:
                for process in self._processes:  # of the others if one had an error
                    process.terminate()
                for process in self._processes:
                    process.wait()
        if self._signals:
            raise stopped_error(self._signals[0], self._sweep)

    async def _run_workers(self) -> None:
        count = len(self._workers)
        gpus = [share_of_gpus(i, count) if count > 1 else {} for i in range(count)]
        await asyncio.gather(*map(self._run_worker, self._workers, gpus))

    async def _run_worker(self, name: str, gpus: dict[str, str]) -> None:
        """Runs trials as a worker until none are left or a signal arrives."""
        while not self._signals:
            earlier = self._earlier_workers
            owner = earlier.pop(0) if earlier else name
            trial = self.oracle.create_trial(owner)
            if trial.status == TrialStatus.STOPPED:
                return
            if trial.status == TrialStatus.IDLE:
                await asyncio.sleep(1)  # until other workers end their trials
                continue
            await self._run_trial(trial, gpus)
            if not self._signals:
                self.oracle.end_trial(trial)

    async def _run_trial(self, trial: Trial, gpus: dict[str, str]) -> None:
        """Trains a trial and sets its status and score."""
        name = self._sweep.name(trial.trial_id)
        run = self._sweep.run(name)
        try:
            await self._train_with_retries(trial, run, gpus)
            score = last_epoch(run)[OBJECTIVE]
        except _TrialError as failure:
            trial.status = TrialStatus.FAILED
            # keras-tuner does not pass a message from a worker to the chief.
            self._sweep.fail(name, str(failure))
            return
        self.oracle.update_trial(trial.trial_id, {OBJECTIVE: score})
        trial.status = TrialStatus.COMPLETED

    def save(self) -> None:
        """Does nothing, because the journal stores the state."""

    async def _train_with_retries(
        self, trial: Trial, run: Run, gpus: dict[str, str]
    ) -> None:
        for _ in range(MAX_RESUMES + 1):
            if run.complete:
                return
            code = await self._train_in_process(trial, run, gpus)
            if code >= 0 and code != TERMINATED:
                break
        if code < 0 or code == TERMINATED:
            name = signal.Signals(-code if code < 0 else signal.SIGTERM).name
            raise _TrialError(
                f"its process was killed by {name} {MAX_RESUMES + 1} times"
                f"{' (out of memory?)' if name == 'SIGKILL' else ''}"
            )
        if code:
            raise _TrialError(self._sweep.reason(run.path.name) or f"exit code {code}")

    async def _train_in_process(
        self, trial: Trial, run: Run, gpus: dict[str, str]
    ) -> int:
        """Trains or resumes in another process and returns its exit code."""
        if self._signals:
            raise _TrialError("the sweep was stopped")  # not final: it resumes later
        file = self._sweep.recipe(run.path.name)
        line = [sys.executable, "-m", "training.fit", f"--out={run.path}"]
        if run.exists:
            # The data may have been moved since the trial was begun.
            line += ["--resume", f"--dataset={self._plan.recipe.dataset}"]
        else:
            try:
                write_json(file, self._recipe(trial).to_dict())
            except UsageError as error:
                raise _TrialError(str(error)) from error
            line.append(f"--recipe={file}")
        others = {n: v for n, v in os.environ.items() if not n.startswith("KERASTUNER")}
        with self._sweep.log(run.path.name).open("ab") as log:
            process = start_process(line, environment=others | gpus, output=log)
        self._processes.append(process)
        for number in self._signals:  # that arrived while it started
            process.send_signal(number)
        while (code := process.poll()) is None:
            await asyncio.sleep(PAUSE)
        self._processes.remove(process)
        return code

    def _recipe(self, trial: Trial) -> Recipe:
        values = trial.hyperparameters.values
        recipe = self._plan.recipe_at(decode(values, self._plan.space))
        return shorten(recipe, values.get("tuner/epochs", recipe.epochs))


def shorten(recipe: Recipe, epochs: int) -> Recipe:
    """Returns a recipe with the number of epochs that Hyperband assigns.

    Warm-up keeps its share of the epochs. ``progressive`` keeps its largest sizes, so
    that each of them and the full size get at least one epoch.
    """
    sizes = recipe.progressive
    return replace(
        recipe,
        epochs=epochs,
        warmup_epochs=recipe.warmup_epochs * epochs / recipe.epochs,
        warmup_steps=math.ceil(recipe.warmup_steps * epochs / recipe.epochs),
        progressive=sizes[max(0, len(sizes) - (epochs - 1)) :],
    )


def stopped_error(number: int, sweep: Sweep) -> Stopped:
    """Returns the error that ends a sweep after a signal."""
    return Stopped(
        f"stopped by {signal.Signals(number).name}; all progress is kept: continue "
        f"with --resume --out {sweep.path}",
        128 + number,
    )


class _TrialError(Exception):
    """The reason why a trial has no result, in one line; the sweep continues."""

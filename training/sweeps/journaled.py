"""Restores keras-tuner's oracles from the sweep's journal.

The oracles are deterministic: replaying the journal's events to a fresh oracle restores
its state. keras-tuner's own files are not used, because grid search cannot be restored
from them.
"""

from collections.abc import Callable
from typing import Any

import keras_tuner
from keras_tuner.engine.trial import Trial, TrialStatus

from keras_resnet.errors import UsageError
from training.sweeps.encoding import Values, decode, hyperparameters
from training.sweeps.folder import Sweep
from training.sweeps.plan import Plan
from training.sweeps.tuner_internals import FilelessOracle

OBJECTIVE = "val_top1"
MAX_EXCLUDED = 1000  # draws outside the budget before a space counts as exhausted
MAX_REPEATED = 200  # draws of known points in a row before it counts as exhausted

Response = dict[str, Any]  # of keras-tuner: a trial's status and values


class JournaledOracle(FilelessOracle):
    """Adds each trial to the sweep's journal when it begins and ends.

    It must precede keras-tuner's oracle in the list of base classes.

    Args:
        plan: The space, the points that are allowed, and the seed.
        max_trials: Maximum number of trials; None: no limit.
        options: Further options of keras-tuner's oracle.
    """

    def __init__(
        self, plan: Plan, max_trials: int | None = None, **options: Any
    ) -> None:
        super().__init__(
            objective=keras_tuner.Objective(OBJECTIVE, "max"),
            max_trials=max_trials,
            hyperparameters=hyperparameters(plan.space),
            allow_new_entries=False,
            tune_new_entries=False,
            seed=plan.recipe.seed + 1,  # keras-tuner takes 0 for a random seed
            max_consecutive_failed_trials=10**9,  # failures never end a sweep
            **options,
        )
        self.verbose = 0
        self.plan = plan
        self._next_seed = plan.recipe.seed + 1  # each random number has its own
        self._chosen: set[tuple[Any, ...]] = set()  # points that were drawn

    def restore(self, sweep: Sweep, on_event: Callable[[], None]) -> None:
        """Restores the state at the end of the journal; adds to it from now on.

        Args:
            sweep: Provides the journal.
            on_event: Called after each new event.

        Raises:
            UsageError: The journal belongs to another sweep.
        """
        self._sweep, self._on_event = sweep, on_event
        begun = set()
        for event in sweep.events():
            if event["event"] == "ended":
                self._replay_end(event)
                continue
            trial = super().create_trial(event["tuner"])
            if event["event"] == "begun":
                begun.add(trial.trial_id)
                found = (trial.trial_id, trial.hyperparameters.values)
                if found != (event["trial"], event["values"]):
                    raise UsageError(
                        f"journal in {sweep.path} must belong to this sweep, got trial "
                        f"{event['trial']} with {event['values']}; choose another --out"
                    )
        # Where an older version ended the search, this one may begin another trial.
        for tuner, trial in self.ongoing_trials.items():
            if trial.trial_id not in begun:
                self._append_begun(tuner, trial)

    def _replay_end(self, event: dict[str, Any]) -> None:
        if event["score"] is not None:
            super().update_trial(event["trial"], {OBJECTIVE: event["score"]})
        trial = self.trials[event["trial"]]
        trial.status = event["status"]
        super().end_trial(trial)

    def _append_begun(self, tuner_id: str, trial: Trial) -> None:
        values = trial.hyperparameters.values
        begun = {"event": "begun", "trial": trial.trial_id, "values": values}
        self._sweep.append({"tuner": tuner_id, **begun})

    def create_trial(self, tuner_id: str) -> Trial:
        """Returns a tuner's next trial, or its unfinished one."""
        count, seed = len(self.trials), self._next_seed
        trial = super().create_trial(tuner_id)
        if len(self.trials) > count:
            self._append_begun(tuner_id, trial)
        elif self._next_seed == seed:
            return trial  # the state has not changed
        else:
            self._sweep.append({"event": "asked", "tuner": tuner_id})
        self._on_event()
        return trial

    def end_trial(self, trial: Trial) -> None:
        """Stores the result of a trial."""
        super().end_trial(trial)
        ended = self.trials[trial.trial_id]
        completed = ended.status == TrialStatus.COMPLETED
        name = self._sweep.name(ended.trial_id)
        self._sweep.append(
            {
                "event": "ended",
                "trial": ended.trial_id,
                "status": ended.status,
                "score": ended.score,
                "reason": "" if completed else self._sweep.reason(name),
            }
        )
        self._on_event()

    def allows(self, values: Values) -> bool:
        """Returns whether keras-tuner's values are valid and within the budget."""
        return self.plan.allows(decode(values, self.plan.space))

    def choose(self, values: Values) -> bool:
        """Marks values as chosen and returns whether they are new."""
        key = tuple(values[name] for name in self.plan.space)
        new = key not in self._chosen
        self._chosen.add(key)
        return new

    def draw(self) -> Values | None:
        """Returns a new random point that is allowed; None: the space is exhausted."""
        repeated = excluded = 0
        while repeated <= MAX_REPEATED and excluded < MAX_EXCLUDED:
            values = {}
            for parameter in self.hyperparameters.space:
                values[parameter.name] = parameter.random_sample(self._next_seed)
                self._next_seed += 1
            if not self.choose(values):
                repeated += 1
            elif self.allows(values):
                return values
            else:
                repeated, excluded = 0, excluded + 1
        return None


def response(values: Values | None) -> Response:
    """Returns keras-tuner's response with a trial's values; None: ends the search."""
    if values is None:
        return {"status": TrialStatus.STOPPED}
    return {"status": TrialStatus.RUNNING, "values": values}

"""keras-tuner's oracles, remembered by the sweep's journal.

Each is seeded, so that the journal's events, told to a fresh one again, bring it to
where the last one was. keras-tuner's own files are not used: they are written in place,
and grid search cannot be read back from them.
"""

from collections.abc import Callable
from typing import Any

import keras_tuner
from keras_tuner.engine.trial import Trial, TrialStatus

from keras_resnet.errors import UsageError
from training.recipe import literal
from training.sweeps.folder import Event, Sweep
from training.sweeps.plan import Plan
from training.sweeps.space import Choice, Point, Range, Space

OBJECTIVE = "val_top1"
DRAWS = 1000  # of points outside the budget, after which there are none within
COLLISIONS = 200  # draws of known points after which a space counts as exhausted

Values = dict[str, Any]  # as keras-tuner has them: numbers, and text for the rest
Heard = Callable[[], None]


def hyperparameters(space: Space) -> keras_tuner.HyperParameters:
    """Returns a space as keras-tuner knows it."""
    made = keras_tuner.HyperParameters()
    for name, field in space.items():
        if isinstance(field, Choice):
            values = [encode(value, field) for value in field.values]
            made.Choice(name, values, ordered=field.numeric)
        else:
            scale = "log" if field.log else "linear"
            number = made.Int if field.whole else made.Float
            number(name, field.low, field.high, sampling=scale)
    return made


class Remembered(keras_tuner.Oracle):
    """An oracle whose trials are written into a journal as they begin and end.

    To be mixed in ahead of one of keras-tuner's.
    """

    plan: Plan
    sweep: Sweep
    heard: Heard

    def remember(self, plan: Plan, sweep: Sweep, heard: Heard) -> None:
        """Brings the oracle to where the journal ends.

        Args:
            plan: Says which points are allowed.
            sweep: Has the journal.
            heard: Is called after each event.

        Raises:
            UsageError: The journal is not of this sweep.
        """
        self.verbose = 0
        self.plan, self.sweep, self.heard = plan, sweep, heard
        self._max_collisions = COLLISIONS
        for event in sweep.events():
            if event["event"] == "ended":
                self._end(event)
                continue
            trial = super().create_trial(event["tuner"])
            if event["event"] == "begun" and (
                trial.trial_id != event["trial"]
                or trial.hyperparameters.values != event["values"]
            ):
                raise UsageError(
                    f"journal in {sweep.path} must be of this sweep, got trial "
                    f"{event['trial']} with {event['values']}; choose another --out"
                )

    def _end(self, event: Event) -> None:
        if event["score"] is not None:
            super().update_trial(event["trial"], {OBJECTIVE: event["score"]})
        trial = self.trials[event["trial"]]
        trial.status = event["status"]
        super().end_trial(trial)

    def create_trial(self, tuner_id: str) -> Trial:
        """Gives a tuner its next trial, or the one that it had not ended."""
        known, drawn = set(self.trials), self._seed_state
        trial = super().create_trial(tuner_id)
        event = {"event": "asked", "tuner": tuner_id}
        if trial.trial_id in self.trials and trial.trial_id not in known:
            values = trial.hyperparameters.values
            event |= {"event": "begun", "trial": trial.trial_id, "values": values}
        elif self._seed_state == drawn:
            return trial  # nothing has changed
        self.sweep.note(event)
        self.heard()
        return trial

    def end_trial(self, trial: Trial) -> None:
        """Takes a trial's result."""
        super().end_trial(trial)
        ended = self.trials[trial.trial_id]
        self.sweep.note(
            {
                "event": "ended",
                "trial": ended.trial_id,
                "status": ended.status,
                "score": ended.score,
                "reason": ""
                if ended.status == TrialStatus.COMPLETED
                else self.sweep.reason(ended.trial_id),
            }
        )
        self.heard()

    def save(self) -> None:
        """Does nothing, the journal being all there is to save."""

    def _save_trial(self, trial: Trial) -> None:
        """Does nothing, likewise."""

    def _random_values(self) -> Values | None:
        for _ in range(DRAWS):
            values = super()._random_values()
            if values is None or self.plan.allows(decoded(self.plan.space, values)):
                return values
            self._tried_so_far.add(self._compute_values_hash(values))
        return None


class Grid(Remembered):
    """All points, one after the other."""

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Gives the next point."""
        place, points = len(self.trials), self.plan.allowed
        if place == len(points):
            return {"status": TrialStatus.STOPPED}
        space = self.plan.space
        values = {n: encode(v, space[n]) for n, v in points[place].items()}
        return {"status": TrialStatus.RUNNING, "values": values}


class Random(Remembered, keras_tuner.oracles.RandomSearchOracle):
    """Points drawn at random, each once."""


class Hyperband(Remembered, keras_tuner.oracles.HyperbandOracle):
    """Many short trials, of which the best are trained anew for longer.

    Reference: Li et al., "Hyperband", JMLR 2018.
    """


class Bayesian(Remembered, keras_tuner.oracles.BayesianOptimizationOracle):
    """Points where a Gaussian process, fitted to the results, hopes for better ones."""

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Gives the point hoped for, or a random one if it is known or not allowed."""
        chosen: dict[str, Any] = super().populate_space(trial_id)
        values = chosen.get("values")
        if values and (
            self._duplicate(values)
            or not self.plan.allows(decoded(self.plan.space, values))
        ):
            return dict(self._random_populate_space())
        return chosen


def make_oracle(tuner: str, plan: Plan, trials: int | None) -> Remembered:
    """Returns a fresh oracle.

    Args:
        tuner: As of ``training.sweep``.
        plan: Its recipe's seed is the oracle's, its epochs the most of Hyperband.
        trials: How many at most; None: as many as the tuner wants.
    """
    common: dict[str, Any] = {
        "objective": keras_tuner.Objective(OBJECTIVE, "max"),
        "hyperparameters": hyperparameters(plan.space),
        "allow_new_entries": False,
        "tune_new_entries": False,
        "seed": plan.recipe.seed + 1,  # 0 is drawn at random by keras-tuner
        "max_consecutive_failed_trials": 10**9,  # the sweep goes on
    }
    if tuner == "hyperband":
        return Hyperband(max_epochs=plan.recipe.epochs, **common)
    kinds: dict[str, type[Remembered]] = {
        "grid": Grid,
        "random": Random,
        "bayesian": Bayesian,
    }
    return kinds[tuner](max_trials=trials, **common)


def encode(value: Any, field: Choice | Range) -> Any:
    """A value as keras-tuner can hold it: all of a field are of one type."""
    return value if isinstance(field, Range) or field.numeric else str(value)


def decoded(space: Space, values: Values) -> Point:
    """The point that values of keras-tuner stand for."""
    return {
        name: literal(values[name]) if isinstance(values[name], str) else values[name]
        for name in space
    }

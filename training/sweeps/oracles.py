"""Restores keras-tuner's oracles from the sweep's journal.

Each oracle is seeded: replaying the journal's events to a fresh oracle restores its
state. keras-tuner's own files are not used, because they are written in place and grid
search cannot be restored from them.
"""

import math
from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any

import keras_tuner
from keras_tuner.engine.trial import Trial, TrialStatus

from keras_resnet.errors import UsageError
from training.recipes.recipe import literal
from training.sweeps.folder import Event, Sweep
from training.sweeps.plan import Plan
from training.sweeps.space import Choice, Point, Range, Space

OBJECTIVE = "val_top1"
DRAWS = 1000  # outside the budget in a row before a space counts as exhausted
COLLISIONS = 200  # draws of known points before a space counts as exhausted

Values = dict[str, Any]  # keras-tuner's values: numbers, and text for the rest
Bracket = dict[str, Any]  # of keras-tuner: its number and the trials of each round
Heard = Callable[[], None]


def hyperparameters(space: Space) -> keras_tuner.HyperParameters:
    """Converts a space to keras-tuner's hyperparameters."""
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


class JournaledOracle(keras_tuner.Oracle):
    """Mix-in for oracles that journals each trial when it begins and ends.

    It must precede keras-tuner's oracle in the list of base classes.
    """

    plan: Plan
    sweep: Sweep
    heard: Heard

    def remember(self, plan: Plan, sweep: Sweep, heard: Heard) -> None:
        """Restores the state at the end of the journal.

        Args:
            plan: Decides which points are allowed.
            sweep: Provides the journal.
            heard: Called after each new event.

        Raises:
            UsageError: The journal belongs to another sweep.
        """
        self.verbose = 0
        self.plan, self.sweep, self.heard = plan, sweep, heard
        self._max_collisions = COLLISIONS
        events = sweep.events()
        for event in events:
            if event["event"] == "ended":
                self._end(event)
                continue
            trial = super().create_trial(event["tuner"])
            if event["event"] == "begun" and (
                trial.trial_id != event["trial"]
                or trial.hyperparameters.values != event["values"]
            ):
                raise UsageError(
                    f"journal in {sweep.path} must belong to this sweep, got trial "
                    f"{event['trial']} with {event['values']}; choose another --out"
                )
        # Where an older version ended the search, this one may begin another trial.
        begun = {event["trial"] for event in events if event["event"] == "begun"}
        for tuner, trial in self.ongoing_trials.items():
            if trial.trial_id not in begun:
                self._note_begun(tuner, trial)

    def _note_begun(self, tuner_id: str, trial: Trial) -> None:
        values = trial.hyperparameters.values
        begun = {"event": "begun", "trial": trial.trial_id, "values": values}
        self.sweep.note({"tuner": tuner_id, **begun})

    def _end(self, event: Event) -> None:
        if event["score"] is not None:
            super().update_trial(event["trial"], {OBJECTIVE: event["score"]})
        trial = self.trials[event["trial"]]
        trial.status = event["status"]
        super().end_trial(trial)

    def create_trial(self, tuner_id: str) -> Trial:
        """Returns a tuner's next trial, or its unfinished one."""
        known, drawn = set(self.trials), self._seed_state
        trial = super().create_trial(tuner_id)
        if trial.trial_id in self.trials and trial.trial_id not in known:
            self._note_begun(tuner_id, trial)
        elif self._seed_state == drawn:
            return trial  # nothing has changed
        else:
            self.sweep.note({"event": "asked", "tuner": tuner_id})
        self.heard()
        return trial

    def end_trial(self, trial: Trial) -> None:
        """Stores the result of a trial."""
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
                else self.sweep.reason(self.sweep.name(ended.trial_id)),
            }
        )
        self.heard()

    def save(self) -> None:
        """Does nothing, because the journal stores the state."""

    def _save_trial(self, trial: Trial) -> None:
        """Does nothing, because the journal stores the trials."""

    def _random_values(self) -> Values | None:
        for _ in range(DRAWS):
            values = super()._random_values()
            if values is None or self.plan.allows(decoded(self.plan.space, values)):
                return values
            self._tried_so_far.add(self._compute_values_hash(values))
        return None


class Grid(JournaledOracle):
    """Tries all points in order."""

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Returns the next point."""
        place, points = len(self.trials), self.plan.allowed
        if place == len(points):
            return {"status": TrialStatus.STOPPED}
        space = self.plan.space
        values = {n: encode(v, space[n]) for n, v in points[place].items()}
        return {"status": TrialStatus.RUNNING, "values": values}


class Random(JournaledOracle, keras_tuner.oracles.RandomSearchOracle):
    """Draws points at random, each at most once."""


class Hyperband(JournaledOracle, keras_tuner.oracles.HyperbandOracle):
    """Trains many short trials and retrains the best of them for longer.

    If the space has too few points left for a bracket's first round, the bracket
    shrinks to those points; keras-tuner's oracle would end the search. A failed trial
    cannot advance to the next round and does not block the others.

    Reference: Li et al., "Hyperband", JMLR 2018.
    """

    _exhausted = False  # the space has no new points

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Returns a new point, or the best of a round with more epochs."""
        while True:
            for bracket in self._brackets:
                values = self._new(bracket, trial_id)
                values = values or self._promoted(bracket, trial_id)
                if values is not None:
                    return {"status": TrialStatus.RUNNING, "values": values}
            if self._current_bracket == 0 or self._exhausted:
                ongoing = bool(self.ongoing_trials)
                return {"status": TrialStatus.IDLE if ongoing else TrialStatus.STOPPED}
            self._increment_bracket_num()
            self._start_new_bracket()

    def _new(self, bracket: Bracket, trial_id: str) -> Values | None:
        """Returns a new point for a bracket's first round; None: needs or has none."""
        number, first = bracket["bracket_num"], bracket["rounds"][0]
        if self._exhausted or len(first) == self._get_size(number, 0):
            return None
        values: Values | None = self._random_values()
        if values is None:
            self._exhausted = True
            return None
        first.append({"past_id": None, "id": trial_id})
        return values | self._round(number, 0)

    def _promoted(self, bracket: Bracket, trial_id: str) -> Values | None:
        """Returns the values of a trial sure to advance a round; None: none is."""
        number, sizes = bracket["bracket_num"], self._sizes(bracket)
        for place, (before, chosen) in enumerate(pairwise(bracket["rounds"]), 1):
            known = {info["past_id"] for info in chosen}
            trials = [self.trials[info["id"]] for info in before]
            done = [t for t in trials if t.status == TrialStatus.COMPLETED]
            left = [trial for trial in done if trial.trial_id not in known]
            unknown = sizes[place - 1] - _failures(trials) - len(done)
            if left and len(chosen) + unknown < sizes[place]:
                best = max(left, key=lambda trial: trial.score)
                chosen.append({"past_id": best.trial_id, "id": trial_id})
                values = best.hyperparameters.values | self._round(number, place)
                return values | {"tuner/trial_id": best.trial_id}
        return None

    def _sizes(self, bracket: Bracket) -> list[int]:
        """Returns the final number of trials in each round of a bracket."""
        number, rounds = bracket["bracket_num"], bracket["rounds"]
        first = len(rounds[0]) if self._exhausted else self._get_size(number, 0)
        sizes = [first]
        for place in range(1, len(rounds)):
            share = math.ceil(first / self.factor**place)
            able = sizes[-1] - _failures(
                self.trials[i["id"]] for i in rounds[place - 1]
            )
            sizes.append(min(self._get_size(number, place), share, able))
        return sizes

    def _round(self, number: int, place: int) -> Values:
        before = self._get_epochs(number, place - 1) if place else 0
        return {
            "tuner/epochs": self._get_epochs(number, place),
            "tuner/initial_epoch": before,
            "tuner/bracket": self._current_bracket,
            "tuner/round": place,
        }


def _failures(trials: Iterable[Trial]) -> int:
    return sum(trial.status == TrialStatus.FAILED for trial in trials)


class Bayesian(JournaledOracle, keras_tuner.oracles.BayesianOptimizationOracle):
    """Chooses promising points by a Gaussian process fitted to the results."""

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Returns a promising point, or a random one if it is known or not allowed."""
        chosen: dict[str, Any] = super().populate_space(trial_id)
        values = chosen.get("values")
        if values and (
            self._duplicate(values)
            or not self.plan.allows(decoded(self.plan.space, values))
        ):
            return dict(self._random_populate_space())
        return chosen


def make_oracle(tuner: str, plan: Plan, trials: int | None) -> JournaledOracle:
    """Returns a fresh oracle.

    Args:
        tuner: A ``--tuner`` of ``training.sweep``.
        plan: Its recipe provides the seed and the maximum epochs of Hyperband.
        trials: Maximum number of trials; None: the tuner decides.
    """
    common: dict[str, Any] = {
        "objective": keras_tuner.Objective(OBJECTIVE, "max"),
        "hyperparameters": hyperparameters(plan.space),
        "allow_new_entries": False,
        "tune_new_entries": False,
        "seed": plan.recipe.seed + 1,  # keras-tuner takes 0 for a random seed
        "max_consecutive_failed_trials": 10**9,  # failures never end a sweep
    }
    if tuner == "hyperband":
        return Hyperband(max_epochs=plan.recipe.epochs, **common)
    kinds: dict[str, type[JournaledOracle]] = {
        "grid": Grid,
        "random": Random,
        "bayesian": Bayesian,
    }
    return kinds[tuner](max_trials=trials, **common)


def encode(value: Any, field: Choice | Range) -> Any:
    """Converts a value for keras-tuner, which needs one type per field."""
    return value if isinstance(field, Range) or field.numeric else str(value)


def decoded(space: Space, values: Values) -> Point:
    """Converts keras-tuner's values to a point."""
    return {
        name: literal(values[name]) if isinstance(values[name], str) else values[name]
        for name in space
    }

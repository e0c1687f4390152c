"""Chooses the trials of a sweep: by grid, at random, by Bayes or by Hyperband."""

import math
from collections.abc import Iterable
from itertools import pairwise

import keras_tuner
from keras_tuner.engine.trial import Trial, TrialStatus

from training.sweeps.encoding import Values, encode
from training.sweeps.journaled import JournaledOracle, Response, response
from training.sweeps.plan import Plan

FACTOR = 3  # between the epochs of two rounds of Hyperband

Rounds = list[list[str]]  # the trials of each round of a bracket


class Grid(JournaledOracle):
    """Tries all points in order."""

    def populate_space(self, trial_id: str) -> Response:
        """Returns the next point."""
        place, points = len(self.trials), self.plan.allowed
        if place == len(points):
            return response(None)
        return response(encode(points[place], self.plan.space))


class Random(JournaledOracle):
    """Draws points at random, each at most once."""

    def populate_space(self, trial_id: str) -> Response:
        """Returns a new point."""
        return response(self.draw())


class Bayesian(JournaledOracle, keras_tuner.oracles.BayesianOptimizationOracle):
    """Chooses promising points by a Gaussian process fitted to the results."""

    def __init__(self, plan: Plan, max_trials: int | None = None) -> None:
        # keras-tuner's default, which it does not store
        super().__init__(plan, max_trials, num_initial_points=3 * len(plan.space))

    def populate_space(self, trial_id: str) -> Response:
        """Returns a promising point, or a random one if it is known or not allowed."""
        completed = [
            t for t in self.trials.values() if t.status == TrialStatus.COMPLETED
        ]
        if len(completed) >= self.num_initial_points:
            values: Values = super().populate_space(trial_id)["values"]
            if self.allows(values) and self.choose(values):
                return response(values)
        return response(self.draw())


class Hyperband(JournaledOracle):
    """Trains many short trials and retrains the best of them for longer.

    Bracket number n has n + 1 rounds. keras-tuner's oracle would end the search if the
    space has too few points left for a bracket's first round; here, the bracket shrinks
    to those points. A failed trial cannot advance to the next round and does not block
    the others.

    Reference: Li et al., "Hyperband", JMLR 2018.

    Args:
        plan: Its recipe has the maximum number of epochs.
        max_trials: None, because the epochs determine the number.
    """

    def __init__(self, plan: Plan, max_trials: None = None) -> None:
        super().__init__(plan, max_trials)
        self._max_epochs = plan.recipe.epochs
        self._brackets: dict[int, Rounds] = {}  # by their number
        self._promoted: set[str] = set()
        self._exhausted = False  # the space has no new points
        number = 0
        while FACTOR ** (number + 1) <= self._max_epochs:
            number += 1
        self._start_bracket(number)

    def _start_bracket(self, number: int) -> None:
        self._current = number
        self._brackets[number] = [[] for _ in range(number + 1)]

    def populate_space(self, trial_id: str) -> Response:
        """Returns a new point, or the best of a round with more epochs."""
        while True:
            for number in self._brackets:
                values = self._new(number, trial_id)
                values = values or self._promote(number, trial_id)
                if values is not None:
                    return response(values)
            if self._current == 0 or self._exhausted:
                if self.ongoing_trials:
                    return {"status": TrialStatus.IDLE}
                return response(None)
            self._start_bracket(self._current - 1)

    def _new(self, number: int, trial_id: str) -> Values | None:
        """Returns a new point for a bracket's first round; None: needs or has none."""
        first = self._brackets[number][0]
        if self._exhausted or len(first) == self._full_size(number, 0):
            return None
        values = self.draw()
        if values is None:
            self._exhausted = True
            return None
        first.append(trial_id)
        return values | self._schedule(number, 0)

    def _promote(self, number: int, trial_id: str) -> Values | None:
        """Returns the values of a trial sure to advance a round; None: none is."""
        sizes = self._sizes(number)
        for place, (before, chosen) in enumerate(pairwise(self._brackets[number]), 1):
            trials = self._trials(before)
            done = [t for t in trials if t.status == TrialStatus.COMPLETED]
            left = [trial for trial in done if trial.trial_id not in self._promoted]
            unknown = sizes[place - 1] - _failures(trials) - len(done)
            if left and len(chosen) + unknown < sizes[place]:
                best = max(left, key=lambda trial: trial.score)
                self._promoted.add(best.trial_id)
                chosen.append(trial_id)
                values: Values = best.hyperparameters.values
                values = values | self._schedule(number, place)
                return values | {"tuner/trial_id": best.trial_id}
        return None

    def _trials(self, names: list[str]) -> list[Trial]:
        return [self.trials[name] for name in names]

    def _sizes(self, number: int) -> list[int]:
        """Returns the final number of trials in each round of a bracket."""
        rounds = self._brackets[number]
        first = len(rounds[0]) if self._exhausted else self._full_size(number, 0)
        sizes = [first]
        for place in range(1, len(rounds)):
            share = math.ceil(first / FACTOR**place)
            able = sizes[-1] - _failures(self._trials(rounds[place - 1]))
            sizes.append(min(self._full_size(number, place), share, able))
        return sizes

    def _full_size(self, number: int, place: int) -> int:
        """Returns the number of trials of a round if there are enough points."""
        last = math.ceil(1 + math.log(self._max_epochs, FACTOR)) / (number + 1)
        return math.ceil(last * FACTOR ** (number - place))

    def _epochs(self, number: int, place: int) -> int:
        return math.ceil(self._max_epochs / FACTOR ** (number - place))

    def _schedule(self, number: int, place: int) -> Values:
        return {
            "tuner/epochs": self._epochs(number, place),
            "tuner/initial_epoch": self._epochs(number, place - 1) if place else 0,
            "tuner/bracket": self._current,
            "tuner/round": place,
        }


def _failures(trials: Iterable[Trial]) -> int:
    return sum(trial.status == TrialStatus.FAILED for trial in trials)


ORACLES: dict[str, type[JournaledOracle]] = {
    "grid": Grid,
    "random": Random,
    "bayesian": Bayesian,
    "hyperband": Hyperband,
}

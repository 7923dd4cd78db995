"""What learns ages from volumes: each a function from training people to a predictor."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Predictor: TypeAlias = Callable[[Floats], tuple[Floats, Floats]]
Learner: TypeAlias = Callable[[Floats, Floats, Floats], Predictor]

PENALTIES = np.logspace(-1, 5, 25)
HYPERPARAMETERS_FROM = 400  # people, for the Gaussian process: its cost grows with their cube


def ridge(x: Floats, ages: Floats, weights: Floats) -> Predictor:
    """Ridge regression; the penalty is chosen by generalised cross-validation."""
    from sklearn.linear_model import RidgeCV

    model = RidgeCV(PENALTIES, store_cv_results=True).fit(x, ages, weights)
    chosen = int(np.argmin(np.abs(PENALTIES - model.alpha_)))
    squares = model.cv_results_[:, chosen] / weights  # weighted ones are stored
    return _with_constant_sd(model.predict, float(np.sqrt(np.average(squares, weights=weights))))


def gaussian_process(x: Floats, ages: Floats, weights: Floats) -> Predictor:
    """Gaussian process, linear plus squared-exponential kernel; it does not know weights."""
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel, DotProduct, WhiteKernel

    del weights
    size = float(x.shape[1])
    kernel = (
        ConstantKernel(0.5 / size, (1e-6, 1e2)) * DotProduct(1.0, "fixed")
        + ConstantKernel(0.5, (1e-6, 1e2)) * RBF(np.sqrt(size), (0.1, 1e3))
        + WhiteKernel(0.2, (1e-3, 1e1))
    )
    some = np.random.default_rng(0).permutation(len(x))[:HYPERPARAMETERS_FROM]
    first = GaussianProcessRegressor(kernel, normalize_y=True).fit(x[some], ages[some])
    model = GaussianProcessRegressor(first.kernel_, optimizer=None, normalize_y=True).fit(x, ages)
    return lambda asked: model.predict(asked, return_std=True)


def boosting(x: Floats, ages: Floats, weights: Floats) -> Predictor:
    """Gradient boosting of small trees."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    model = HistGradientBoostingRegressor(
        max_iter=150, learning_rate=0.06, max_leaf_nodes=6, l2_regularization=1.0,
        max_features=0.3, random_state=0,
    )  # fmt: skip
    model.fit(x, ages, sample_weight=weights)
    return _with_constant_sd(model.predict, float("nan"))


def covariance_network(x: Floats, ages: Floats, weights: Floats) -> Predictor:
    """Fit a coVariance neural network, see :mod:`.vnn`."""
    from .vnn import fit

    return _with_constant_sd(fit(x, ages, weights), float("nan"))


LEARNERS: dict[str, Learner] = {
    "ridge": ridge,
    "gp": gaussian_process,
    "boosting": boosting,
    "vnn": covariance_network,
}


def _with_constant_sd(predict: Callable[[Floats], Floats], sd: float) -> Predictor:
    return lambda asked: (predict(asked), np.full(len(asked), sd))

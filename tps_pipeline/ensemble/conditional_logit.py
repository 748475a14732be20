"""Multinomial regression with one weight for each feature of a choice, the same for all choices (McFadden, 1974).

scikit-learn's has one for each feature and class. With eight members and five states that is two hundred of them where
this has eight: more than a few videos can tell, and worse on generated data.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize

from tps_pipeline.ensemble.evidence import likelihoods
from tps_pipeline.parsing import Floats, Integers


def fit(features: Floats, labels: Integers, *, prior: Floats, strength: float) -> tuple[Floats, Floats]:
    """Fit weights and each state's bias by penalised likelihood.

    Args:
        features: `(members, n, S)`.
        labels: `(n,)` the state that is true of each row.
        prior: `(members,)` the weights that few rows leave as they are.
        strength: Of the penalty on the squares of what departs from the prior and of the biases (a variance's inverse).

    Returns:
        Weights `(members,)` and biases `(S,)`.
    """
    n_members, n_rows, n_states = features.shape
    true = np.zeros((n_rows, n_states))
    true[np.arange(n_rows), labels] = 1

    def loss(parameters: Floats) -> tuple[float, Floats]:
        moved, bias = parameters[:n_members], parameters[n_members:]
        found = likelihoods(logits(features, prior + moved, bias))
        too_much = np.exp(found) - true
        gradient = np.concatenate([np.einsum("kns,ns->k", features, too_much), too_much.sum(axis=0)])
        penalty = strength * parameters
        return float(-(found * true).sum() + parameters @ penalty / 2), gradient + penalty

    found = minimize(loss, np.zeros(n_members + n_states), jac=True, method="L-BFGS-B").x
    return prior + found[:n_members], found[n_members:]


def logits(features: Floats, weights: Floats, bias: Floats) -> Floats:
    """`(n, S)` for features `(members, n, S)`."""
    return np.einsum("k,kns->ns", weights, features) + bias

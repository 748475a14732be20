"""Randomised trees as plain arrays: grown by scikit-learn, kept as tensors, and asked without it.

A pickle would run what a file names, and be read by one version of scikit-learn only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, vstack
from sklearn.ensemble import ExtraTreesClassifier
from torch import Tensor

from tps_pipeline.errors import WeightsError

LEAF = -1
"""What stands for the children of a node that has none."""
_SHARES = ("share", "share_class", "share_start")


@dataclass(frozen=True)
class Forest:
    """Trees one after the other, each node's number counted through all of them.

    Attributes:
        root: Each tree's first node, `(trees,)`.
        children: The nodes that a node leads to, where the feature is at most the threshold and where it is more;
            `LEAF` of one that ends, `(nodes, 2)`.
        feature: What is compared, `(nodes,)`.
        threshold: With what, `(nodes,)`.
        shares: The classes' shares in each leaf, `(nodes, classes)`; few are in one, and a node on the way has none.
    """

    root: NDArray[np.int64]
    children: NDArray[np.int32]
    feature: NDArray[np.int32]
    threshold: NDArray[np.float64]
    shares: csr_matrix

    @classmethod
    def grown(cls, trees: ExtraTreesClassifier, classes: int) -> Forest:
        """Take over what scikit-learn has grown.

        Args:
            trees: Fitted; their classes are numbers below `classes`.
            classes: How many there are, also of those that were never seen.
        """
        each = [estimator.tree_ for estimator in trees.estimators_]
        sizes = [tree.node_count for tree in each]
        root = np.cumsum([0, *sizes[:-1]])
        children = [np.stack((tree.children_left, tree.children_right), 1) for tree in each]
        ends = np.concatenate(children)[:, 0] == LEAF
        shares = [_leaf_shares(tree, np.asarray(trees.classes_), classes) for tree in each]
        return cls(
            root,
            np.where(ends[:, None], LEAF, np.concatenate(children) + np.repeat(root, sizes)[:, None]).astype(np.int32),
            np.concatenate([tree.feature for tree in each]).astype(np.int32),
            np.concatenate([tree.threshold for tree in each]),
            csr_matrix(vstack(shares)),
        )

    def probabilities(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """Each class's probability: the mean of its shares over the trees, `(n, classes)`.

        Args:
            features: `(n, features)`, of the precision that the trees were grown with.
        """
        rows = np.arange(len(features))
        at = np.tile(self.root, (len(features), 1))
        while (inner := self.children[at, 0] != LEAF).any():
            more = features[rows[:, None], self.feature[at]] > self.threshold[at]
            at = np.where(inner, self.children[at, more.astype(int)], at)
        mean = csr_matrix(
            (np.full(at.size, 1 / len(self.root)), at.ravel(), np.arange(0, at.size + 1, len(self.root))),
            (len(at), len(self.children)),
        )
        return (mean @ self.shares).toarray()

    def tensors(self) -> dict[str, Tensor]:
        """The arrays, as a weight file keeps them."""
        arrays = {name: getattr(self, name) for name in ("root", "children", "feature", "threshold")}
        shares = (self.shares.data, self.shares.indices, self.shares.indptr)
        return {
            name: torch.from_numpy(each) for name, each in (arrays | dict(zip(_SHARES, shares, strict=True))).items()
        }

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor], classes: int) -> Forest:
        """The trees whose arrays a weight file has.

        Raises:
            WeightsError: It has others.
        """
        try:
            arrays = {name: tensors[name].numpy() for name in ("root", "children", "feature", "threshold")}
            shares = tuple(tensors[name].numpy() for name in _SHARES)
            children = arrays["children"]
            if not ((children == LEAF) | (children > np.arange(len(children))[:, None])).all():
                raise ValueError("a node leads back to one before it")
            return cls(**arrays, shares=csr_matrix(shares, (len(arrays["children"]), classes)))
        except (KeyError, ValueError) as error:
            raise WeightsError(f"these are not the arrays of randomised trees: {error}") from error


def _leaf_shares(tree: Any, known: NDArray[np.int64], classes: int) -> csr_matrix:
    shares = np.zeros((tree.node_count, classes))
    shares[:, known] = np.where(tree.children_left[:, None] == LEAF, tree.value[:, 0], 0)
    return csr_matrix(shares / np.maximum(shares.sum(1, keepdims=True), np.finfo(float).tiny))

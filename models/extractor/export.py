"""The model file that `rust/html` reads: the weights of names and words, those of kinds of pages, and two forests
(rust/html/src/trees.rs).

A forest stores each feature's distinct thresholds once; a node holds the number of one. Leaves are 16-bit integers
with one scale. A tree is written in preorder with the number of leaves to the left of each node, which is its whole
shape. Nothing of the training texts is in the file: names and words are hashes, and leaves are sums over thousands
of blocks.
"""

import math
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

MAGIC = b"curate-html\x02"
SCALE = 48
"""A linear weight of 1 is stored as this integer."""


def table(hashes: np.ndarray, weights: np.ndarray) -> bytes:
    """Linear weights as signed bytes, those that are nearly 0 left out: u32 n, n u32 hashes, n i8 weights."""
    small = np.clip(np.round(weights * SCALE), -127, 127).astype(np.int8)
    kept = small != 0
    return struct.pack("<I", kept.sum()) + bytes(hashes[kept].astype("<u4")) + bytes(small[kept])


def kind_table(hashes: np.ndarray, weights: np.ndarray, most: int) -> bytes:
    """Weights of tokens for each kind of page, those that weigh most: u32 n, n u32 hashes, n times as many i8 weights.

    `weights` is float [tokens, kinds]; at most `most` tokens are kept.
    """
    small = np.clip(np.round(weights * SCALE), -127, 127).astype(np.int8)
    largest = np.abs(small.astype(int)).max(axis=1)
    kept = np.sort(np.argsort(-largest, kind="stable")[:most])
    kept = kept[largest[kept] > 0]
    return bytes(struct.pack("<I", len(kept)) + hashes[kept].astype("<u4").tobytes() + small[kept].tobytes())


def model_file(tables: bytes, first: Sequence[Any], second: Sequence[Any]) -> bytes:
    """A model of three tables of linear weights and two forests, each the mean of some LightGBM boosters."""
    return MAGIC + tables + forest(first) + forest(second)


def forest(boosters: Sequence[Any]) -> bytes:
    """The mean of some boosters: u16 features, their thresholds, f32 scale, u16 trees, the trees."""
    dumps = [booster.dump_model() for booster in boosters]
    n_features = dumps[0]["max_feature_idx"] + 1
    trees = [tree["tree_structure"] for dump in dumps for tree in dump["tree_info"]]
    used: list[set[float]] = [set() for _ in range(n_features)]
    largest = 0.0
    for node in _nodes(trees):
        if "leaf_value" in node:
            node["leaf_value"] /= len(boosters)
            largest = max(largest, abs(node["leaf_value"]))
        else:
            used[node["split_feature"]].add(_float32(node["threshold"]))
    thresholds = [sorted(values) for values in used]
    places = [{value: place for place, value in enumerate(values)} for values in thresholds]
    scale = np.float32(max(largest, 1e-30) / 32767)
    parts = [struct.pack("<H", n_features)]
    for values in thresholds:
        if len(values) > 255:
            raise ValueError(f"a feature has {len(values)} thresholds, more than a byte can number: lower max_bin")
        parts.append(struct.pack(f"<B{len(values)}f", len(values), *values))
    parts.append(struct.pack("<fH", scale, len(trees)))
    for tree in trees:
        inner: list[bytes] = []
        leaves: list[bytes] = []
        _write(tree, places, float(scale), inner, leaves)
        parts += [bytes([len(leaves)]), *inner, *leaves]
    return b"".join(parts)


def _nodes(trees: list[Any]) -> list[Any]:
    nodes, open_nodes = [], list(trees)
    while open_nodes:
        node = open_nodes.pop()
        nodes.append(node)
        if "leaf_value" not in node:
            if node["decision_type"] != "<=" or node["missing_type"] != "None":
                raise ValueError(f"a node decides by {node['decision_type']}, missing {node['missing_type']}")
            open_nodes += [node["left_child"], node["right_child"]]
    return nodes


def _float32(threshold: float) -> float:
    """The largest float32 that is no larger: x <= threshold means the same for every float32 x."""
    value = np.float32(threshold)
    return float(np.nextafter(value, np.float32(-np.inf)) if value > threshold else value)


def _write(node: Any, places: list[dict[float, int]], scale: float, inner: list[bytes], leaves: list[bytes]) -> int:
    """Appends a subtree; gives its number of leaves."""
    if "leaf_value" in node:
        weight = min(255, round(8 * math.log2(max(node.get("leaf_count", 1), 1))))
        leaves.append(struct.pack("<hB", round(node["leaf_value"] / scale), weight))
        return 1
    at = len(inner)
    inner.append(b"")
    left = _write(node["left_child"], places, scale, inner, leaves)
    feature = node["split_feature"]
    inner[at] = bytes([feature, places[feature][_float32(node["threshold"])], left])
    return left + _write(node["right_child"], places, scale, inner, leaves)

"""Figures of answers against the truth, as `sconce reference` keeps them: scikit-learn's definitions. Pure."""

from __future__ import annotations

import math
from typing import Optional

import torch

_BINS = 15
_SUM_TOLERANCE = 1e-3


def scores(output: torch.Tensor, n_labels: int, activation: str) -> torch.Tensor:
    """What a first output means for each label: `[rows, labels]` in double precision.

    Args:
        output: `[rows, labels]`, or one number a row, for the second of two labels.
        activation: `"none"`, `"softmax"` or `"sigmoid"`.
    """
    rows = output.double().reshape(output.shape[0], -1)
    is_single = rows.shape[1] == 1
    if activation == "softmax" and not is_single:
        rows = rows.softmax(1)
    elif activation != "none":
        # A softmax over one value would always be 1.
        rows = rows.sigmoid()
    return torch.cat([1.0 - rows, rows], dim=1) if is_single else rows


def classes(found: torch.Tensor, is_single: bool) -> torch.Tensor:
    """The class of each row by its scores: the first of the largest, or the second of two at 0.5.

    It is the number of classes where no score is a number.
    """
    n_labels = found.shape[1]
    missing = found.isnan().all(1)
    if is_single:
        told = (found[:, 1] >= 0.5).long()
    else:
        told = found.nan_to_num(nan=-math.inf).argmax(1)
    return torch.where(missing, n_labels, told)


def classification(found: torch.Tensor, told: torch.Tensor, truth: torch.Tensor) -> dict[str, float]:
    """Figures over all rows.

    Args:
        found: scores, `[rows, classes]`.
        told: the class that each row was told to be, `[rows]`; the number of classes for none.
        truth: the class that it is, `[rows]`.
    """
    n_classes, n_rows = found.shape[1], len(truth)
    support = torch.bincount(truth, minlength=n_classes).double()
    answered = torch.bincount(told, minlength=n_classes + 1)[:n_classes].double()
    right = torch.bincount(truth[truth == told], minlength=n_classes).double()
    figures = {"accuracy": right.sum().item() / n_rows}
    occurs = support + answered > 0
    parts = {
        "precision": _share(right, answered),
        "recall": _share(right, support),
        "f1": _share(2 * right, support + answered),
    }
    for name, part in parts.items():
        figures[f"macro_{name}"] = part[occurs].mean().item()
        figures[f"weighted_{name}"] = (part * support).sum().item() / n_rows
    area = _mean_area(found, truth)
    if area is not None:
        figures["roc_auc"] = area
    if bool(((found >= 0) & (found <= 1)).all() & ((found.sum(1) - 1).abs() <= _SUM_TOLERANCE).all()):
        tiny = torch.finfo(torch.float64).eps
        figures["log_loss"] = -found.gather(1, truth[:, None]).clamp(tiny, 1 - tiny).log().mean().item()
        figures["calibration_error"] = _calibration_error(found.gather(1, told[:, None])[:, 0], truth == told)
    return figures


def regression(answers: torch.Tensor, truth: torch.Tensor) -> dict[str, float]:
    """Figures of numbers beside the truth, both `[rows]` in double precision; none where an answer is not finite."""
    errors = answers - truth
    if not bool(errors.isfinite().all()):
        return {}
    squared, spread = (errors**2).sum().item(), ((truth - truth.mean()) ** 2).sum().item()
    r2 = 1 - squared / spread if spread > 0 else 0.0 if squared > 0 else 1.0
    return {"mae": errors.abs().mean().item(), "rmse": math.sqrt(squared / len(truth)), "r2": r2}


def _share(part: torch.Tensor, whole: torch.Tensor) -> torch.Tensor:
    return torch.where(whole > 0, part / whole.clamp(min=1), torch.zeros_like(part))


def _mean_area(found: torch.Tensor, truth: torch.Tensor) -> Optional[float]:
    """The area under the ROC curve: of the second of two classes, or the mean over classes, each against the rest."""
    if bool(found.isnan().any()):
        return None
    if found.shape[1] == 2:
        return _area(found[:, 1], truth == 1)
    areas = [_area(found[:, place], truth == place) for place in range(found.shape[1])]
    known = [area for area in areas if area is not None]
    return sum(known) / len(known) if known else None


def _area(values: torch.Tensor, is_positive: torch.Tensor) -> Optional[float]:
    n_positive = int(is_positive.sum())
    n_negative = len(values) - n_positive
    if not n_positive or not n_negative:
        return None
    _, place, counts = values.unique(return_inverse=True, return_counts=True)
    # Equal values share the mean of their ranks.
    ranks = (counts.cumsum(0) - (counts - 1) / 2).double()[place]
    return (ranks[is_positive].sum().item() - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative)


def _calibration_error(confidence: torch.Tensor, is_right: torch.Tensor) -> float:
    edges = torch.arange(1, _BINS, dtype=torch.float64) / _BINS
    # An edge belongs to the bin below it.
    place = torch.searchsorted(edges, confidence.contiguous(), right=False)
    gaps = torch.zeros(_BINS, dtype=torch.float64).index_add(0, place, is_right.double() - confidence)
    return gaps.abs().sum().item() / len(confidence)

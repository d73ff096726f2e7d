"""MASE and the weighted quantile loss."""
import numpy as np


def mase(history, actual, predicted, season=1):
    history, actual, predicted = (np.asarray(x, dtype=float) for x in (history, actual, predicted))
    naive = np.abs(history[season:] - history[:-season]).mean()
    return np.abs(actual - predicted).mean() / max(naive, 1e-9)


def weighted_quantile_loss(actual, quantiles, levels):
    actual, quantiles = np.asarray(actual, dtype=float), np.asarray(quantiles, dtype=float)
    error = actual[:, None] - quantiles
    loss = np.maximum(np.asarray(levels) * error, (np.asarray(levels) - 1) * error)
    return 2 * loss.sum(0).mean() / max(np.abs(actual).sum(), 1e-9)

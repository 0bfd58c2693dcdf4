"""Actions as a market of our own making has them: for tests of tokenizers, which know no book."""

import numpy as np

from mtsim.model.actions import ACTION_DTYPE, MOST_SWEPT, NO_VWAP, ActionKind
from mtsim.model.tokenizer import Training


def generated_actions(n: int, seed: int = 0, session: int = 10_000) -> np.ndarray:
    """`n` actions: lots with atoms at 1 and 100, distances near the touch, gaps with many zeros.

    A stretch opens every `session` actions, and no price has been traded at in its first eighth.
    """
    draw = np.random.default_rng(seed)
    actions = np.zeros(n, ACTION_DTYPE)
    actions["kind"] = draw.choice(3, n, p=[0.48, 0.08, 0.44])
    actions["side"] = draw.integers(0, 2, n)
    adds = actions["kind"] == ActionKind.ADD
    trades = actions["kind"] == ActionKind.TRADE
    cancels = actions["kind"] == ActionKind.CANCEL

    distance = np.rint(draw.laplace(0, 12, n)).astype(np.int64)
    distance = np.where(draw.random(n) < 0.4, 0, np.abs(distance))
    improves = adds & (draw.random(n) < 0.1)
    distance = np.where(improves, -draw.integers(1, 6, n), distance)
    actions["distance_ticks"] = np.where(trades, np.maximum(distance - 10, 0), distance)
    actions["swept"] = np.where(trades, np.minimum(draw.geometric(0.7, n) - 1, MOST_SWEPT), 0)

    lots = np.rint(draw.lognormal(4, 1.2, n)).astype(np.int64) + 1
    atom = draw.random(n)
    lots = np.where(atom < 0.2, 1, np.where(atom < 0.6, 100, lots))
    actions["lots"] = lots
    actions["whole"] = cancels & (draw.random(n) < 0.9)
    actions["order_lots"] = lots + np.where(cancels & (actions["whole"] == 0), 50, 0)
    actions["place"] = np.where(cancels, draw.integers(0, 4, n), 0)

    gap = np.rint(np.exp(draw.normal(13, 4, n))).astype(np.int64)
    gap = np.where(draw.random(n) < 0.15, 0, gap)
    opens = np.arange(n) % session == 0
    actions["opens"] = opens
    actions["gap_ns"] = np.where(opens, 0, gap)
    actions["time_ns"] = np.cumsum(gap)

    walk = 20_000 + np.cumsum(draw.integers(-1, 2, n))
    actions["price_tick"] = walk + np.where(actions["side"] == 0, -1, 1) * actions["distance_ticks"]
    early = np.arange(n) % session < session // 8
    actions["vwap_tick"] = np.where(early, NO_VWAP, walk + draw.normal(0, 2, n))
    return actions


def batches_of(actions: np.ndarray, size: int):
    """What `Tokenizer.fit` asks for: a call that gives the actions of one session in batches."""
    return lambda: [
        Training("UP MADE", (actions[at : at + size] for at in range(0, len(actions), size)))
    ]

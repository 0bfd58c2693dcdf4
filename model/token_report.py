"""What the tokens of a data set are like: how many are used, how evenly, what the commonest say.

Counts the tokens of the files, part by part; the bins and what was clipped are those of training.
PAD, BOS and EOS are no events and are counted nowhere. Entropies are of the observed frequencies,
in nats: with few events they are too low.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mtsim.model.dataset import Dataset
from mtsim.model.dataset_files import TOKENIZER
from mtsim.model.split import Part
from mtsim.model.token_words import field_in_words, in_words, span_of
from mtsim.model.tokenizer import Tokenizer
from mtsim.model.vocabulary import SPECIAL

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COMMONEST = 10

_CHUNK = 1 << 20
_PANEL_COLUMNS = 3


@dataclass(frozen=True)
class TokenReport:
    """The counts of a data set; `as_json` has the numbers, `draw` the picture."""

    dataset: Dataset
    tokenizer: Tokenizer
    counts: dict[Part, np.ndarray]
    """How often each token occurs, int64 [vocabulary], by part that has any."""

    def as_json(self) -> dict[str, Any]:
        """The numbers as JSON values."""
        tokenizer = self.tokenizer
        realised = tokenizer.vocabulary - SPECIAL
        possible = int(np.prod(tokenizer.radices))
        return {
            "schema": tokenizer.schema,
            "tokenizer_sha256": tokenizer.sha256,
            "vocabulary": tokenizer.vocabulary,
            "realised": realised,
            "combinations": possible,
            "unreachable": possible - realised,
            "unreachable_codes": self.unreachable_codes(),
            "bins": {
                line: {"asked": asked.n, "realised": len(tokenizer.bins[line])}
                for line, asked in tokenizer.content.schema.lines.items()
            },
            "clip_rates": self.clip_rates(),
            "parts": {part.name.lower(): self._part(part) for part in self.counts},
            "fields": self.marginals(),
            "commonest": self.commonest(),
        }

    def unreachable_codes(self) -> dict[str, list[int]]:
        """The codes of each field that no token has."""
        tokenizer = self.tokenizer
        fields = tokenizer.fields_of(np.arange(SPECIAL, tokenizer.vocabulary))
        return {
            name: np.setdiff1d(np.arange(radix), fields[:, column]).tolist()
            for column, (name, radix) in enumerate(
                zip(tokenizer.fields, tokenizer.radices, strict=True)
            )
        }

    def clip_rates(self) -> dict[str, float]:
        """Of each line, the share of its training numbers beyond what its bins tell apart."""
        return {
            name: round(line.clip_rate, 9) for name, line in self.tokenizer.report().lines.items()
        }

    def marginals(self) -> dict[str, list[dict[str, Any]]]:
        """Each field's codes: in words, how often in training, and what share that is."""
        report = self.tokenizer.report()
        total = max(1, report.actions)
        return {
            name: [
                {
                    "code": code,
                    "words": field_in_words(self.tokenizer, name, code),
                    "count": n,
                    "share": round(n / total, 9),
                }
                for code, n in enumerate(counts.tolist())
            ]
            for name, counts in report.marginals.items()
        }

    def commonest(self) -> list[dict[str, Any]]:
        """The commonest events of training, the lower token first where they are as common."""
        counts = self._training()
        total = max(1, int(counts.sum()))
        order = np.argsort(-counts, kind="stable")[:COMMONEST]
        return [
            {
                "token": token,
                "words": in_words(self.tokenizer, token),
                "count": int(counts[token]),
                "share": round(int(counts[token]) / total, 9),
            }
            for token in order.tolist()
            if counts[token]
        ]

    def draw(self, file: Path) -> None:
        """Write the bins and their counts as a PNG; equal data sets give equal bytes."""
        # No pyplot: it has one global state and looks for a display.
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        laws = self.tokenizer.laws
        rows = -(-(len(laws) + 1) // _PANEL_COLUMNS)
        figure = Figure(figsize=(18, 4.5 * rows), layout="constrained")
        FigureCanvasAgg(figure)
        tokenizer = self.tokenizer
        figure.suptitle(
            f"{tokenizer.schema} · {tokenizer.vocabulary:,} tokens · "
            f"{int(self._training().sum()):,} training events"
        )
        panels = figure.subplots(rows, _PANEL_COLUMNS, squeeze=False).ravel()
        self._draw_ranks(panels[0])
        for panel, law in zip(panels[1:], laws, strict=False):
            self._draw_law(panel, law)
        for panel in panels[len(laws) + 1 :]:
            panel.set_axis_off()
        # The version of the library would be in the file, and change it.
        figure.savefig(file, format="png", dpi=80, metadata={"Software": None})

    def _part(self, part: Part) -> dict[str, Any]:
        counts = self.counts[part]
        entropy = entropy_nats(counts)
        said = self.dataset.manifest["parts"][part.name.lower()]
        return {
            "sessions": said["sessions"],
            "symbols": said["symbols"],
            "events": int(counts.sum()),
            "tokens_used": int(np.count_nonzero(counts)),
            "entropy_nats": round(entropy, 6),
            "effective_vocabulary": round(float(np.exp(entropy)), 3),
            "edit_rate": said["edit_rate"],
        }

    def _training(self) -> np.ndarray:
        return self.counts[Part.TRAIN]

    def _draw_ranks(self, panel: Axes) -> None:
        for part, counts in self.counts.items():
            ranked = np.sort(counts[counts > 0])[::-1]
            panel.plot(
                np.arange(1, len(ranked) + 1), ranked / ranked.sum(), label=part.name.lower()
            )
        panel.set_xscale("log")
        panel.set_yscale("log")
        panel.set_title("share of a token by its rank")
        panel.legend()

    def _draw_law(self, panel: Axes, law: str) -> None:
        line = self.tokenizer.spelling.laws[law]
        counts = self.tokenizer.laws[law].counts
        codes = np.arange(len(counts))
        panel.bar(codes, counts)
        labels = [span_of(self.tokenizer, line, code) for code in codes.tolist()]
        panel.set_xticks(codes, labels, rotation=60, ha="right", fontsize=7)
        panel.set_title(f"{law.replace('_', ' ')} ({len(counts)} bins)")


def report(dataset: Dataset) -> TokenReport:
    """Count the tokens of a data set. O(positions) time; memory for a chunk of them."""
    path = dataset.folder / TOKENIZER
    tokenizer = Tokenizer.from_json(path.read_text(encoding="utf-8"), str(path))
    counts = np.zeros((len(Part), tokenizer.vocabulary), np.int64)
    segments = dataset.segments
    for start in range(0, len(dataset.tokens), _CHUNK):
        tokens = dataset.tokens[start : start + _CHUNK].astype(np.int64)
        stop = start + len(tokens)
        # Segments lie one after the other and cover all positions.
        first = int(np.searchsorted(segments["end"], start, side="right"))
        last = int(np.searchsorted(segments["first"], stop))
        here = segments[first:last]
        lengths = np.minimum(here["end"], stop) - np.maximum(here["first"], start)
        rows = np.repeat(here["part"].astype(np.int64), lengths)
        counts += np.bincount(rows * counts.shape[1] + tokens, minlength=counts.size).reshape(
            counts.shape
        )
    counts[:, :SPECIAL] = 0
    # What belongs to no part is nobody's business here either.
    counts[Part.NONE] = 0
    return TokenReport(
        dataset, tokenizer, {part: counts[part] for part in Part if counts[part].any()}
    )


def entropy_nats(counts: np.ndarray) -> float:
    """Of the frequencies of these counts; 0 where there are none."""
    counts = counts[counts > 0].astype(np.float64)
    if not len(counts):
        return 0.0
    shares = counts / counts.sum()
    return float(-(shares * np.log(shares)).sum())

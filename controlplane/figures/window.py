"""Samples of the sums within the last minute, out of which rates and times are made. No clock."""

from __future__ import annotations

from collections import deque

from controlplane.figures.traffic import RATE_WINDOW, TIME_WINDOW, Figures, Sample, figures

MOST = 64
"""Samples that are kept, however often they come."""


class Window:
    """Takes samples, the oldest first, and says what `figures` are."""

    def __init__(self) -> None:
        self._samples: deque[Sample] = deque(maxlen=MOST)
        self.figures = Figures()

    def take(self, sample: Sample) -> None:
        """Take the newest sample."""
        samples = self._samples
        # One that is as old as the window stays: the window's length is the distance to it.
        while len(samples) > 1 and sample.at - samples[1].at >= TIME_WINDOW:
            samples.popleft()
        if samples:
            recent = next((one for one in reversed(samples) if sample.at - one.at >= RATE_WINDOW), samples[0])
            self.figures = figures(recent, samples[0], sample)
        samples.append(sample)

"""The text that Prometheus reads, version 0.0.4.

https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from mailftp.wire.tally import Histogram

KIND = "text/plain; version=0.0.4; charset=utf-8"

_ESCAPED = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})


class Exposition:
    """Metrics, one after the other, each with all its samples."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def counter(self, name: str, words: str, samples: Iterable[tuple[Mapping[str, str], float]]) -> None:
        self._family(name, "counter", words, samples)

    def gauge(self, name: str, words: str, samples: Iterable[tuple[Mapping[str, str], float]]) -> None:
        self._family(name, "gauge", words, samples)

    def histogram(self, name: str, words: str, histogram: Histogram) -> None:
        counts = list(histogram.counts)
        total, buckets = 0, []
        for step, count in zip((*histogram.steps, None), counts, strict=True):
            total += count
            buckets.append(({"le": "+Inf" if step is None else f"{step:g}"}, total))
        self._head(name, "histogram", words)
        self._samples(f"{name}_bucket", buckets)
        self._samples(f"{name}_sum", [({}, histogram.sum)])
        self._samples(f"{name}_count", [({}, total)])

    @property
    def text(self) -> bytes:
        return "".join(f"{line}\n" for line in self._lines).encode()

    def _family(
        self, name: str, kind: str, words: str, samples: Iterable[tuple[Mapping[str, str], float]]
    ) -> None:
        self._head(name, kind, words)
        self._samples(name, samples)

    def _head(self, name: str, kind: str, words: str) -> None:
        self._lines += [f"# HELP {name} {words}", f"# TYPE {name} {kind}"]

    def _samples(self, name: str, samples: Iterable[tuple[Mapping[str, str], float]]) -> None:
        for labels, value in samples:
            inner = ",".join(f'{label}="{text.translate(_ESCAPED)}"' for label, text in labels.items())
            self._lines.append(f"{name}{{{inner}}} {value:.12g}" if inner else f"{name} {value:.12g}")

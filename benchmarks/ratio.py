"""Ours beside the native operation, in alternating blocks of calls: the figures of a row."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

BLOCK_SECONDS = 0.02


def compared(native: Callable[[], object], ours: Callable[[], object], rounds: int) -> dict[str, object]:
    """Times in µs, and the ratio of the blocks round by round: its median and its spread.

    The native operation runs a second time in each round: that one against the first is the noise of the measurement.
    """
    calls = max(1, int(BLOCK_SECONDS / max(_block(native, 3) / 3, 1e-6)))
    times: dict[str, list[float]] = {"native": [], "ours": [], "again": []}
    for turn in range(rounds):
        for kind in list(times)[:: 1 if turn % 2 else -1]:
            times[kind].append(_block(ours if kind == "ours" else native, calls))
    ratios = {k: sorted(t / b for t, b in zip(times[k], times["native"], strict=True)) for k in ("ours", "again")}
    return {
        "native_us": round(statistics.median(times["native"]) / calls * 1e6, 2),
        "ours_us": round(statistics.median(times["ours"]) / calls * 1e6, 2),
        "ratio_p20": round(ratios["ours"][rounds // 5], 3),
        "ratio_p50": round(statistics.median(ratios["ours"]), 3),
        "ratio_p80": round(ratios["ours"][rounds * 4 // 5], 3),
        "native_again_p20": round(ratios["again"][rounds // 5], 3),
        "native_again_p50": round(statistics.median(ratios["again"]), 3),
        "native_again_p80": round(ratios["again"][rounds * 4 // 5], 3),
        "rounds": rounds,
    }


def _block(call: Callable[[], object], calls: int) -> float:
    began = time.perf_counter()
    for _ in range(calls):
        call()
    return time.perf_counter() - began

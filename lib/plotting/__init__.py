"""Figures: the look they share, and a module per topic; every function draws a tidy table, nothing else."""

from lib.plotting import (
    auditory,
    bhscore,
    correction,
    decoding,
    encoding,
    functional_maps,
    layer_weighted,
    maps,
    metamers,
    partition,
    recognition,
    report_card,
    rsa,
)
from lib.plotting.look import (
    NUMBERS,
    STYLE,
    assignment,
    colour,
    component_panels,
    label,
    planted_panels,
    recovered,
    save_figure,
    save_numbers,
    score_bars,
)

__all__ = [
    "NUMBERS", "STYLE", "assignment", "auditory", "bhscore", "colour", "component_panels", "correction", "decoding",
    "encoding", "functional_maps", "label", "layer_weighted", "maps", "metamers", "partition", "planted_panels",
    "recognition", "recovered", "report_card", "rsa", "save_figure", "save_numbers", "score_bars",
]  # fmt: skip

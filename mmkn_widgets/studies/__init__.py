"""The whole experiment: one concept or many, thresholds, effects, tables, save and resume."""

from .atlas import open_atlas
from .find import Found, find
from .judged import judge, truths
from .run import run_study
from .search import ThresholdSearch, search_thresholds
from .study import Study, blank_study, open_study, study

__all__ = [
    "Found",
    "Study",
    "ThresholdSearch",
    "blank_study",
    "find",
    "judge",
    "open_atlas",
    "open_study",
    "run_study",
    "search_thresholds",
    "study",
    "truths",
]

"""The whole experiment: one concept or many, thresholds, effects, tables, save and resume."""

from .blank import blank_study
from .find import Found, find
from .format import open_study
from .search import ThresholdSearch, search_thresholds
from .study import Study, study

__all__ = [
    "Found",
    "Study",
    "ThresholdSearch",
    "blank_study",
    "find",
    "open_study",
    "search_thresholds",
    "study",
]

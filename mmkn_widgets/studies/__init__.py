"""The whole experiment: one concept or many, thresholds, effects, tables, save and resume."""

from .atlas import open_atlas as open_atlas
from .challenge import Challenge, Try, challenge_score
from .dose import measure_doses
from .elsewhere import shares_of as shares_of
from .find import Found, find
from .frontier import FIGURES as FIGURES
from .frontier import Frontier, measure_frontier
from .jobs import run_jobs as run_jobs
from .judged import judge as judge
from .judged import truths as truths
from .minimal import minimal_set
from .on_scene import Strongest as Strongest
from .patching import measure_patching
from .plot import StudyPlots
from .plot import plot_compared as plot_compared
from .run import METHODS as METHODS
from .run import concepts_of as concepts_of
from .run import run_study
from .search import ThresholdSearch, search_thresholds
from .streams import measure_streams
from .study import DEFAULTS as DEFAULTS
from .study import Study, blank_study, open_study, study
from .text import describe_found as describe_found
from .text import progress_line as progress_line
from .trust import MaskTrust, mask_trust

__all__ = [
    "Challenge",
    "Found",
    "Frontier",
    "MaskTrust",
    "Study",
    "StudyPlots",
    "ThresholdSearch",
    "Try",
    "blank_study",
    "challenge_score",
    "find",
    "mask_trust",
    "measure_doses",
    "measure_frontier",
    "measure_patching",
    "measure_streams",
    "minimal_set",
    "open_study",
    "run_study",
    "search_thresholds",
    "study",
]

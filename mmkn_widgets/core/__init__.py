"""Everyone's vocabulary: errors, jobs, provenance, concepts, neurons; knows nothing above it."""

from __future__ import annotations

from .axes import COLORS as COLORS
from .axes import axes_for as axes_for
from .axes import counted as counted
from .axes import label_axes as label_axes
from .axes import legend_beside as legend_beside
from .axes import open_frame as open_frame
from .axes import points_of as points_of
from .axes import shortened as shortened
from .axes import wrapped as wrapped
from .bars import reporting as reporting
from .bars import set_progress
from .cache import cache_folder as cache_folder
from .concept import Concept, as_concept
from .errors import BadArgument, Cancelled, MmknError, NotSupported
from .errors import bad_argument as bad_argument
from .files import BLANK as BLANK
from .files import check_file as check_file
from .files import check_folder as check_folder
from .files import flush as flush
from .files import heal as heal
from .files import is_stamped as is_stamped
from .files import seal as seal
from .files import stamp as stamp
from .files import sync as sync
from .files import sync_all as sync_all
from .files import unseal as unseal
from .files import unwritable as unwritable
from .files import whole_folder as whole_folder
from .files import write_all as write_all
from .files import write_whole as write_whole
from .html import html_bars as html_bars
from .html import html_card as html_card
from .html import html_changes as html_changes
from .html import html_figure as html_figure
from .html import html_gallery as html_gallery
from .html import html_line as html_line
from .html import html_picture as html_picture
from .html import html_table as html_table
from .html import shade as shade
from .inflection import inflect as inflect
from .jobs import CancelToken, Progress
from .kinds import with_kinds as with_kinds
from .naming import Vocabulary
from .naming import as_vocabulary as as_vocabulary
from .naming import names as names
from .naming import opaque_compounds as opaque_compounds
from .naming import plain as plain
from .naming import settled as settled
from .naming import spans as spans
from .naming import unit_texts as unit_texts
from .naming import units as units
from .neurons import Neuron, NeuronIndex, NeuronSet
from .neurons import NeuronModel as NeuronModel
from .neurons import array_over_neurons as array_over_neurons
from .neurons import count as count
from .neurons import describe_layers as describe_layers
from .neurons import described_numbers as described_numbers
from .neurons import neuron_coords as neuron_coords
from .neurons import neuron_rows as neuron_rows
from .neurons import neuron_set as neuron_set
from .neurons import over_neurons as over_neurons
from .neurons import provenance_of as provenance_of
from .neurons import top_neurons as top_neurons
from .provenance import provenance
from .shield import Deferred as Deferred
from .shield import Handles as Handles
from .shield import Sure as Sure
from .shield import ending as ending
from .shield import finish as finish
from .shield import leaving as leaving
from .shield import sure as sure
from .verbosity import set_verbosity
from .whole import real_number as real_number
from .whole import real_numbers as real_numbers
from .whole import whole_number as whole_number
from .whole import whole_numbers as whole_numbers

__all__ = [
    "BadArgument",
    "CancelToken",
    "Cancelled",
    "Concept",
    "MmknError",
    "Neuron",
    "NeuronIndex",
    "NeuronSet",
    "NotSupported",
    "Progress",
    "Vocabulary",
    "as_concept",
    "provenance",
    "set_progress",
    "set_verbosity",
]

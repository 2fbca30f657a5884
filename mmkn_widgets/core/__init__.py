"""Everyone's vocabulary: errors, jobs, provenance, concepts, neurons. Knows nothing above itself."""

from __future__ import annotations

from .concept import Concept, as_concept
from .concept import inflect as inflect
from .errors import BadArgument, Cancelled, MmknError, NotSupported
from .errors import bad_argument as bad_argument
from .files import commit_group as commit_group
from .files import flush as flush
from .files import sync as sync
from .files import write_group as write_group
from .jobs import CancelToken, Progress
from .naming import Vocabulary
from .naming import as_vocabulary as as_vocabulary
from .naming import names as names
from .neurons import Neuron, NeuronIndex, NeuronSet
from .neurons import NeuronModel as NeuronModel
from .neurons import array_over_neurons as array_over_neurons
from .neurons import count as count
from .neurons import describe_layers as describe_layers
from .neurons import neuron_rows as neuron_rows
from .neurons import neuron_set as neuron_set
from .neurons import top_neurons as top_neurons
from .provenance import provenance
from .shield import Deferred as Deferred
from .shield import Handles as Handles
from .shield import finish as finish

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
]

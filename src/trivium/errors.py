"""Every exception that Trivium raises, as a tree.

A message is one line: what is wrong, where, what to do. The command line prints it and exits with status 2.
"""


class TriviumError(Exception):
    """The root: catch this to catch everything that Trivium raises on purpose."""


class InputError(TriviumError):
    """A file, a name or a number that the user gave cannot be used."""


class GraphError(InputError):
    """Triples that form no graph, or a name that the graph does not hold."""


class PairsError(GraphError):
    """A table of pairs, and nobody has said what joins them."""


class ConfigError(InputError):
    """A setting that is unknown, of the wrong type or out of range."""


class MissingPackageError(ConfigError):
    """An optional package is not installed."""


class CheckpointError(InputError):
    """A file that is no checkpoint, or one that does not fit what is asked of it."""


class OutputError(InputError):
    """A result that cannot be written where it was asked for."""


class TrainingError(TriviumError):
    """Training cannot go on; the last good state is kept."""


class BusyError(TriviumError):
    """The service cannot take up a request now, or could not finish it in time; later it may."""


class DecidedError(TriviumError):
    """Somebody else has decided about the link meanwhile."""

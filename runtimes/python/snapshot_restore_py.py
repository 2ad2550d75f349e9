"""The hooks of functions that are restored from a snapshot, by the names of AWS's package. They may be registered anywhere;
they run only where a function is initialised once for many environments: published versions with SnapStart.
"""

_before_snapshot = []
_after_restore = []


def register_before_snapshot(func, *args, **kwargs):
    """Has a function called when the initialisation is over: the one registered last is called first."""
    _before_snapshot.append((func, args, kwargs))


def register_after_restore(func, *args, **kwargs):
    """Has a function called in every environment that is made from the snapshot, in the order of registering."""
    _after_restore.append((func, args, kwargs))


def get_before_snapshot():
    """What was registered, in that order."""
    return _before_snapshot


def get_after_restore():
    """What was registered, in that order."""
    return _after_restore

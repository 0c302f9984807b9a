"""Which version of the package this is.

Other layers may import the names in `__all__`.
"""

import importlib.metadata

__all__ = ['version']


def version() -> str:
    """The version of the package that is installed."""
    try:
        return importlib.metadata.version('torrelque')
    except importlib.metadata.PackageNotFoundError:
        # The package is imported from a folder on the path, and was never installed.
        return '(not installed)'

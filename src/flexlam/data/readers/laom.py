"""The one-file HDF5 layout of LAOM (Nikulin et al. 2025): a group per trajectory with `obs` and `actions`."""

import h5py

from flexlam.data.readers.hdf5 import Hdf5Reader


class LaomReader(Hdf5Reader):
    """Every trajectory of every file below a folder, or of a single file.

    Raises:
        DataError: there is no such trajectory.
        ConfigError: there is no such camera.
    """

    format = "laom"

    @staticmethod
    def fits(content: h5py.File) -> bool:
        """Groups at the top, each with `obs` and `actions`."""
        first = next(iter(content.values()), None)
        return isinstance(first, h5py.Group) and isinstance(first.get("obs"), h5py.Dataset) and "actions" in first

    @staticmethod
    def groups(content: h5py.File) -> list[str]:
        """Names of the trajectories."""
        return list(content)

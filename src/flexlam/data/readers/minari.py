"""HDF5 data of Minari: `data/main_data.hdf5` with `episode_0` and so on, whose observations are pictures.

An episode has an observation after its last action; that one is not kept, as in every dataset here.
"""

import h5py

from flexlam.data.readers.hdf5 import Hdf5Episode, Hdf5Reader


class MinariReader(Hdf5Reader):
    """Every episode of a Minari dataset's folder, or of several below a folder.

    Raises:
        DataError: there is no such episode, or observations are no pictures.
        ConfigError: there is no such camera.
    """

    format = "minari"

    @staticmethod
    def fits(content: h5py.File) -> bool:
        """Episodes with `observations`."""
        first = next(iter(content.values()), None)
        return isinstance(first, h5py.Group) and "observations" in first and "actions" in first

    @staticmethod
    def groups(content: h5py.File) -> list[str]:
        """episode_0, episode_1, ..."""
        return [name for name in content if name.startswith("episode_")]

    def _task(self, episode: Hdf5Episode) -> str:
        folder = episode.file.parent
        return (folder.parent if folder.name == "data" else folder).absolute().name

"""HDF5 files of robomimic and LIBERO: `data/demo_0` and so on, each with `obs/CAMERA`, `actions`, `rewards`.

Frames are given as they are stored: LIBERO's are upside down.
"""

import json

import h5py

from flexlam.data.readers.hdf5 import Hdf5Reader


class RobomimicReader(Hdf5Reader):
    """Every demonstration of every file below a folder, or of a single file.

    Raises:
        DataError: there is no such demonstration.
        ConfigError: there is no such camera.
    """

    format = "robomimic"

    @staticmethod
    def fits(content: h5py.File) -> bool:
        """Demonstrations below `data`."""
        data = content.get("data")
        return isinstance(data, h5py.Group) and any(name.startswith("demo") for name in data)

    @staticmethod
    def groups(content: h5py.File) -> list[str]:
        """data/demo_0, data/demo_1, ..."""
        return [f"data/{name}" for name in content["data"]]

    @staticmethod
    def frequency(content: h5py.File) -> float | None:
        """The control frequency that the environment was made with."""
        try:
            return float(json.loads(content["data"].attrs["env_args"])["env_kwargs"]["control_freq"])
        except (KeyError, ValueError, TypeError):
            return None

"""As much of torchvision as LeRobot's datasets import; the wheel on the index does not go with a CPU build of torch."""

__version__ = "0.0"


def set_video_backend(name: str) -> None:
    pass


from . import transforms  # noqa: E402, F401

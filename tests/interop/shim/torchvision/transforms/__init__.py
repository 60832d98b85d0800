import numpy as np
import torch


class ToTensor:
    def __call__(self, picture):
        return torch.from_numpy(np.array(picture, np.uint8)).permute(2, 0, 1).float() / 255


class _Anything:
    def __init__(self, *_, **__):
        pass


def __getattr__(name):
    return _Anything

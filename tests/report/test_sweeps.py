import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from flexlam.report.sweeps import PrefixSweep, amplification, sweep_html


def _sweep(difference: int) -> PrefixSweep:
    target = np.full((12, 12, 3), 100, np.uint8)
    return PrefixSweep("t", target + np.uint8(difference), target, {0: target - np.uint8(difference), 3: target})


@pytest.mark.parametrize(("difference", "gain"), [(1, 8), (31, 8), (32, 4), (60, 4), (100, 2)])
def test_differences_are_amplified_as_far_as_they_fit(difference: int, gain: int) -> None:
    assert amplification([_sweep(difference)]) == gain


def test_nothing_to_amplify() -> None:
    assert amplification([]) == 1


def test_differences_and_decibels() -> None:
    html = sweep_html(_sweep(10), 4)
    pictures = [
        np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))) for data in re.findall(r"base64,([^\"]*)", html)
    ]
    grey = [picture for picture in pictures if picture.ndim == 2]
    assert [int(picture.max()) for picture in grey] == [40, 40, 0]  # o_t, k = 0, k = 3
    assert html.count("28.1 dB") == 2
    assert "equal" in html
    assert html.index("k = 0") < html.index("k = 3")


def test_a_task_is_named_once() -> None:
    assert "<h3>t</h3>" in sweep_html(_sweep(1), 1)
    assert "<h3>" not in sweep_html(_sweep(1), 1, titled=False)

import dataclasses

import numpy as np
import pytest

from flexlam.core.errors import DataError
from flexlam.report.predictions import PredictedTransition
from flexlam.report.sweeps import check_sweep, sweeps_html


def test_the_encoded_frame_stands_before_the_predicted(prediction: PredictedTransition) -> None:
    html = sweeps_html([prediction, prediction], 2, "Predicted transition")
    assert html.count("<h3>basic</h3>") == 1
    places = [html.index(f">{label}</div>") for label in ("encoded", "k = 1", "k = 4")]
    assert places == sorted(places)
    assert html.count('class="cell decoded apart"') == 2
    assert 'alt="decoded from 4 predicted codes"' in html and 'aria-label="Predicted transition"' in html


def test_frames_are_checked(prediction: PredictedTransition) -> None:
    check_sweep(prediction)
    with pytest.raises(DataError, match="encoded is uint8"):
        check_sweep(dataclasses.replace(prediction, encoded=prediction.encoded[:4]))
    with pytest.raises(DataError, match="k = 1 is float32"):
        check_sweep(dataclasses.replace(prediction, predicted={1: prediction.obs.astype(np.float32)}))
    with pytest.raises(DataError, match="no decoded frame"):
        check_sweep(dataclasses.replace(prediction, predicted={}))

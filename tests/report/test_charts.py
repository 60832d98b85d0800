import pytest
from matplotlib.figure import Figure

from flexlam.report.charts import right_labels, spread


@pytest.mark.parametrize(
    ("values", "places"),
    [
        ([], []),
        ([0.0, 5.0], [0.0, 5.0]),
        ([1.0, 1.2, 1.3], [1.0, 2.0, 3.0]),
        ([8.0, 9.5, 9.6], [8.0, 9.0, 10.0]),
        ([9.0, 12.0, 12.0], [9.0, 11.0, 12.0]),  # a value may stand above the axes
    ],
)
def test_labels_are_pushed_apart_and_stay_within(values: list[float], places: list[float]) -> None:
    assert spread(values, 1.0, 10.0) == places


def test_leaders_do_not_stretch_the_axes() -> None:
    axes = Figure().add_subplot()
    axes.plot([0, 1], [0, 1])
    before = axes.get_xlim(), axes.get_ylim()
    right_labels(axes, {name: 1.0 for name in "abcdefghijklmnop"}, leaders=True)
    axes.autoscale_view()
    assert (axes.get_xlim(), axes.get_ylim()) == before
    assert len(axes.lines) == 1 + 16

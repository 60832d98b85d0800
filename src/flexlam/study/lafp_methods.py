"""How the parts of the study of LAFP call their policies, and which decoder speaks for regression."""

from statistics import fmean

from flexlam.study.found import Values

FLOW, REGRESSION, REGRESSION_OWN = "LAFP", "regression", "regression, decoder fitted to its own latents"


def better_decoder(one: Values, other: Values) -> Values:
    """Of each LAM seed the values of whichever decoder does better on average: the values stay those of one agent."""
    return {seed: max(one[seed], other[seed], key=fmean) for seed in one}

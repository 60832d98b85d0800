"""Linear maps of a base vector beside arithmetic on moments."""

import numpy as np

from flexlam.theory.maps import coefficients, inverse_root, residual, row_space


def test_residuals_are_what_regression_on_moments_leaves() -> None:
    generator = np.random.default_rng(0)
    x, c = generator.standard_normal((3, 20)), generator.standard_normal((5, 20))
    by_moments = x - (x @ c.T) @ np.linalg.solve(c @ c.T, c)
    np.testing.assert_allclose(residual(x, c), by_moments)
    np.testing.assert_allclose(residual(x, np.vstack([c, c])), by_moments, atol=1e-12)
    np.testing.assert_allclose(coefficients(x, c), (x @ c.T) @ np.linalg.inv(c @ c.T))


def test_rounding_errors_are_no_directions() -> None:
    x = np.random.default_rng(0).standard_normal((2, 6))
    assert len(row_space(np.vstack([x, x.sum(axis=0)]))) == 2
    assert len(row_space(1e-13 * x)) == 2 and len(row_space(1e-13 * x, scale=1.0)) == 0
    assert row_space(np.zeros((3, 6))).shape == (0, 6)


def test_the_inverse_root_whitens_directions_with_variance() -> None:
    x = np.random.default_rng(0).standard_normal((3, 8))
    x[2] = x[0] + x[1]
    white = inverse_root(x) @ x
    np.testing.assert_allclose(np.linalg.eigvalsh(white @ white.T), [0, 1, 1], atol=1e-9)

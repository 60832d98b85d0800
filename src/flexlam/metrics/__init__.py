"""Measures of a result: image quality, and how sure a mean is."""

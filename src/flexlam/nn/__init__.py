"""Building blocks that know nothing of latent actions."""

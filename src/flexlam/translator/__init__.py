"""From latent actions to real ones, with a few labels."""

"""From a frame and a latent action to the next frame."""

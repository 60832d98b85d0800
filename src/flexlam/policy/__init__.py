"""From what is seen to what to do: latent actions or actions."""

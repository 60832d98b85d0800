"""The idea: K ordered slots of which every prefix is a valid latent action."""

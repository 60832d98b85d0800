"""Linear latent action models with exogenous state: exact worlds, closed forms, gradient-trained twins, probes."""

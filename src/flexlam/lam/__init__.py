"""The latent action model: encoder, quantizer, retained prefix, decoder."""

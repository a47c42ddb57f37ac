"""msgformer."""

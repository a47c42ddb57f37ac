"""Convert, average and transfer weights of models."""

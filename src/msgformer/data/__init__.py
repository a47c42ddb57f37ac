"""Images in: from folders and embedded sets to batches of tensors."""

"""What turns a backbone into a detector or a segmenter."""

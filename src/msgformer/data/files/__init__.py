"""Where images lie, and how they are read."""

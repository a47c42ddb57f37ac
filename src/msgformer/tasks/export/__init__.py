"""What is exported, and on which images it is checked."""

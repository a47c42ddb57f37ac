"""What a model does inside, as pictures, numbers and a page."""

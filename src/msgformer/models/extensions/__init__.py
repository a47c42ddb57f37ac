"""Extensions proposed in the papers."""

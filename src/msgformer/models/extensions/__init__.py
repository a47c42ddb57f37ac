"""Extensions that the papers propose."""

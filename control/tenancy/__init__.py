"""Who asks, with which key, and whose an entity is."""

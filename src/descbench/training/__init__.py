"""Training: mining and the pieces of a step."""

"""What the two images are made of."""

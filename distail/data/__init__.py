"""Real images: where they come from, how they become long-tailed, and how they reach a network."""

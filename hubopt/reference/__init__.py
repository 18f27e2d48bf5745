"""What the eager layer answers: samples, answers, and how noisy the layer itself is."""

"""What is done to a float model before it is quantized, so that it loses less: each step leaves its function as it was."""

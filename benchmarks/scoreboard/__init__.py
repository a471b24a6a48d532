"""The public model zoo in every format: what is delivered, how exact, how fast, how large, and what it takes."""

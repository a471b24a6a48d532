"""A tiny vision transformer on digits: attention over image patches."""

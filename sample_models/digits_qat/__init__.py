"""A small MobileNet on digits, trained to compute with 8-bit integers."""

"""MLPerf Tiny's DS-CNN on made-up keyword spectrograms."""

"""MLPerf Tiny's autoencoder on made-up machine sound: anomalies are what it cannot rebuild."""

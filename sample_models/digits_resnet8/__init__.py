"""MLPerf Tiny's ResNet-8 on digits: image classification with residual connections."""

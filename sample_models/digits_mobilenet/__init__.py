"""MobileNetV1 at a quarter of its width on digits: depthwise separable convolutions."""

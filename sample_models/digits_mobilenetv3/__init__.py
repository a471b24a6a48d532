"""A small MobileNetV3 on digits whose plain quantization to 8 bits fails: see `train` for why."""

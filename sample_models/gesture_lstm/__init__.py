"""An LSTM that tells gestures apart from an accelerometer, however long the recording."""

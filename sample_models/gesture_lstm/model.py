"""A gesture classifier over a recording of any length: an LSTM, after Hochreiter and Schmidhuber 1997."""

from __future__ import annotations

from torch import Tensor, nn


class GestureLSTM(nn.Module):
    """Acceleration along three axes, step after step, to one logit per gesture."""

    def __init__(self, width: int = 48, classes: int = 6) -> None:
        super().__init__()
        self.lstm = nn.LSTM(3, width, batch_first=True)
        self.classifier = nn.Linear(width, classes)

    def forward(self, motion: Tensor) -> Tensor:
        """Recordings of shape (N, T, 3), in units of gravity, to logits of shape (N, 6)."""
        states, _ = self.lstm(motion)
        logits: Tensor = self.classifier(states[:, -1])
        return logits


def create() -> nn.Module:
    """The network with initial weights, in evaluation mode."""
    return GestureLSTM().eval()

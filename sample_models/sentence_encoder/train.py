"""Makes the weights again: `python -m sample_models.sentence_encoder.train` from the root of the repository.

Nothing is trained: this model is for trying conversion with token ids, padding and several outputs, for which
seeded random weights do as well as learnt ones.
"""

from __future__ import annotations

import numpy as np

from sample_models.cards import read_card
from sample_models.publishing import publish
from sample_models.samples import Samples
from sample_models.sentence_encoder.model import VOCABULARY, create
from sample_models.training import prepare_run

NAME = "sentence_encoder"
SENTENCES, LENGTH, SHORTEST = 64, 32, 4
_PADDING, _FIRST_WORD = 0, 1


def make_sentences(seed: int) -> Samples:
    """Sentences of 4 to 32 random words, padded to 32: `input_ids` and `attention_mask`, both int64."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(SHORTEST, LENGTH + 1, SENTENCES)
    mask = (np.arange(LENGTH) < lengths[:, None]).astype(np.int64)
    words = rng.integers(_FIRST_WORD, VOCABULARY, (SENTENCES, LENGTH), dtype=np.int64)
    ids = np.where(mask == 1, words, _PADDING)
    return Samples(inputs={"input_ids": ids, "attention_mask": mask})


def main() -> None:
    """Draw the weights, and store them with sample sentences."""
    seed = read_card(NAME).seed
    prepare_run(seed)
    publish(NAME, create(), make_sentences(seed))


if __name__ == "__main__":
    main()

"""PAHQ: one head in full precision, everything else cheap (arXiv 2510.23264).

    config.py      which number formats, and which pairs of them make sense
    formats.py     a matrix in a narrow format, and back: bf16, fp16, E4M3 and int8 with a scale per channel
    parts.py       the linear maps of a model's blocks, and which rows and columns are a head's
    originals.py   the exact weights, on disk, while they are not in memory
    linear.py      a linear map that is kept narrow and multiplied wide, some of it exact
    widening.py    what is not quantized computes in the target precision
    memory.py      bytes that weights and the process really hold
    pahq.py        PAHQQuantizer: the public verbs

What is quantized: the weights of every linear map inside the blocks. What never is: the embedding, the
unembedding, norms and biases. They are few or, for the two tables, what every score is read through.
Activations, attention and sums are computed in the target precision, so nothing but weights is ever rounded.
"""

from ace_analysis.quantization.config import QuantizationConfig
from ace_analysis.quantization.pahq import FocusedHead, PAHQQuantizer, QuantizationReport

__all__ = ["FocusedHead", "PAHQQuantizer", "QuantizationConfig", "QuantizationReport"]

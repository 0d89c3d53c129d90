"""Planted bugs: a function and the same function with one realistic mistake in it.

The mistakes are edits of the syntax tree, so a mutant parses; what is known to change nothing is left out.
"""

from ace_analysis.source.mutation.generator import MutationGenerator
from ace_analysis.source.mutation.pair import MutationPair, MutationType

__all__ = ["MutationGenerator", "MutationPair", "MutationType"]

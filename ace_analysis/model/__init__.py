"""Weights, tokens and activations: torch begins here.

    store.py      where weights come from, and which folder a name means
    loading.py    a folder becomes a hooked model, or a scanner
    scan.py       activations of one layer, as fast as they can be had exactly
    tokens.py     text to tokens, and each token's place in the text
    sites.py      names of places in a model; the only place that makes hook names
    hooks.py      the only place that registers hooks

Importing anything below sets up the process for torch, which has to happen before torch is imported.
"""

from ace_analysis.model.runtime import prepare

prepare()

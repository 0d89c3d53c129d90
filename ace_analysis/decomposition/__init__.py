"""Why a model says what it says: a number split over the heads, MLPs and tokens that it comes from.

    anatomy.py        where the parts of a model are, whichever way it was loaded
    nodes.py          names of heads, MLPs and tokens
    targets.py        the number that is explained: a logit, a latent, a finding's log-odds, a head
    scores.py         what each node contributes
    rules.py          contextual decomposition: one rule for each kind of layer, with its equation
    decomposition.py  relevant + irrelevant == total
    cdt.py            the walk through the model, for any set of sources
    relp.py           the same with patterns, norms and gates frozen, for all sources in one pass

Importing anything below sets up the process for torch, which has to happen before torch is imported.
"""

from ace_analysis.model.runtime import prepare

prepare()
